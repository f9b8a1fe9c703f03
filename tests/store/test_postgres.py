"""A ledger on a PostgreSQL server: who may open it, and what a server's troubles leave of it."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import trio

from cocoon_p2p.errors import CocoonError, ConfigurationError, Unavailable
from cocoon_p2p.ledger import audit
from cocoon_p2p.store import open_store, postgres, postgres_session
from cocoon_p2p.store.postgres_session import Session, parse_url
from cocoon_p2p.testing.postgres import PostgresServer, postgres_server
from tests.store.rows import PAYEE_END, exchange, line, until_the_ledger_ends
from tests.store.writer import charge


@pytest.fixture
def own_server(server: PostgresServer) -> Iterator[PostgresServer]:
    """A server that flushes, and that may be crashed. (The shared one says whether there can be any.)"""
    with postgres_server(flushes=True) as own:
        yield own


async def refusal(url: str) -> CocoonError:
    with pytest.raises(CocoonError) as caught:
        async with open_store(url):
            pass
    assert caught.value.hint
    return caught.value


def schema_of(url: str) -> str:
    return url.rpartition("%3D")[2]


# ---------------------------------------------------------------- who may open it


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:wonderland@db.example/ledger",
        "postgres://db.example/ledger?password=wonderland",
        "postgresql://db.example/ledger?sslpassword=wonderland",
        "postgresql://me:wonder@land:x@db.example:port/ledger",
        "postgresql://db.example/%zz?password=wonderland",
    ],
)
async def test_a_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    error = await refusal(url)

    assert isinstance(error, ConfigurationError)
    for part in "wonder", "land":
        assert part not in str(error) + error.hint


async def test_a_password_is_found_where_libpq_looks_for_one(tmp_path: Path) -> None:
    parameters = parse_url(
        f"postgresql://me@db.example/ledger?passfile={tmp_path / 'pass'}&connect_timeout=3"
    )

    assert parameters["passfile"] == str(tmp_path / "pass")
    assert parameters["connect_timeout"] == "3"


async def test_a_server_that_is_not_there_may_be_there_later(tmp_path: Path) -> None:
    error = await refusal(f"postgresql://me@/ledger?host={tmp_path}")

    assert isinstance(error, Unavailable)
    assert f"host={tmp_path} dbname=ledger" in str(error)


async def test_without_psycopg_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cocoon_p2p.store.postgres", None)

    error = await refusal("postgresql:///ledger")

    assert error.hint == "pip install 'cocoon-p2p[postgres]'"


async def test_another_program_s_database_is_not_taken_for_a_ledger(server: PostgresServer) -> None:
    url = server.new_ledger()
    server.execute("create table channels (id integer)", schema_of(url))

    error = await refusal(url)

    assert "another program's database" in str(error)
    assert server.execute("select count(*) from channels", schema_of(url)) == [(0,)]


@pytest.mark.parametrize(("version", "said"), [(99, "a newer version"), (1, "an older version")])
async def test_a_ledger_of_another_version_is_left_alone(
    server: PostgresServer, version: int, said: str
) -> None:
    url = server.new_ledger()
    async with open_store(url):
        pass
    server.execute(f"update cocoon_ledger set version = {version}", schema_of(url))

    assert f"{said} of this program (schema={version}" in str(await refusal(url))


async def test_a_schema_that_is_missing_is_told(server: PostgresServer) -> None:
    assert "no schema to put it into" in str(await refusal(server.url("nowhere")))


async def test_a_user_who_may_create_nothing_is_told_what_to_be_granted(server: PostgresServer) -> None:
    server.execute("drop role if exists guest; create role guest login")
    url = server.new_ledger()
    server.execute(f"grant usage on schema {schema_of(url)} to guest")

    error = await refusal(server.url(schema_of(url), user="guest"))

    assert isinstance(error, ConfigurationError)
    assert "permission denied" in str(error)


async def test_a_copy_that_takes_no_writes_is_refused(server: PostgresServer) -> None:
    url = server.new_ledger() + "%20-cdefault_transaction_read_only%3Don"

    assert "takes no writes" in str(await refusal(url))


@pytest.mark.slow
async def test_a_ledger_in_use_is_refused_and_its_neighbour_is_not(server: PostgresServer) -> None:
    url = server.new_ledger()

    async with open_store(url), open_store(server.new_ledger()):
        error = await refusal(url)

    assert f"pid={os.getpid()}" in str(error)


# ---------------------------------------------------------------- a server's troubles


def end_sessions(server: PostgresServer, url: str) -> None:
    """End the sessions of the ledger's owner, as an administrator does, or a firewall."""
    server.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name like 'cocoon %'"
    )


async def test_an_idle_ledger_that_lost_its_session_ends(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "IDLE_SECONDS", 0.02)
    url = server.new_ledger()

    with pytest.raises(Unavailable, match="cannot be written") as caught:
        async with open_store(url):
            end_sessions(server, url)
            await until_the_ledger_ends()

    assert "what was promised is there" in caught.value.hint


async def test_whoever_lost_the_lock_cannot_write_beside_the_new_owner(server: PostgresServer) -> None:
    url = server.new_ledger()

    with pytest.raises(Unavailable):
        async with open_store(url) as old:
            end_sessions(server, url)
            async with open_store(url) as new:
                await new.submit(line(1)).wait()
                with pytest.raises(Unavailable):
                    await old.submit(line(2)).wait()
                # The block of the old one is cancelled; what follows here is shielded from that.
                with trio.CancelScope(shield=True):
                    assert list(await new.lines()) == [line(1)]


@pytest.mark.slow
async def test_what_was_promised_before_a_server_crashed_is_there_when_it_is_back(
    own_server: PostgresServer,
) -> None:
    # Left to this, a crash would take what was written in the last ten seconds.
    own_server.execute("alter role owner set synchronous_commit = off")
    own_server.execute("alter system set wal_writer_delay = '10s'")
    own_server.execute("select pg_reload_conf()")
    url, promised, refused = own_server.new_ledger(), list[int](), list[str]()

    async def call(caller: int) -> None:
        for number in range(1, 1_000_000):
            try:
                await store.submit(*charge(caller, number)).wait()
            except Unavailable as error:
                refused.append(error.hint)
                return
            promised.append(caller)
            if len(promised) == 100:
                crashed.set()

    crashed = trio.Event()
    with pytest.raises(Unavailable):
        async with open_store(url) as store, trio.open_nursery() as nursery:
            for caller in range(8):
                nursery.start_soon(call, caller)
            await crashed.wait()
            await trio.to_thread.run_sync(own_server.stop, "immediate")
    assert isinstance(await refusal(url), Unavailable)
    own_server.start()

    assert refused
    async with open_store(url) as store:
        lines = await store.lines()
        assert audit(await store.channels(), lines) == ()
        for caller in range(8):
            written = sum(line.name.channel == caller.to_bytes(32) for line in lines) // 2
            assert written - promised.count(caller) in (0, 1)


async def test_a_server_with_a_full_disk_ends_the_ledger_and_keeps_what_it_promised(
    server: PostgresServer,
) -> None:
    url, promised = server.new_ledger(), list[int]()
    with pytest.raises(Unavailable, match="no space left") as caught:
        async with open_store(url) as store:
            fill_disk_at(server, url, number=20)
            for number in range(40):
                await store.submit(line(number), line(1000 + number)).wait()
                promised.append(number)
            await until_the_ledger_ends()

    assert caught.value.hint == "free space or memory on the server, then start again"
    server.execute("drop trigger full_disk on lines", schema_of(url))
    async with open_store(url) as store:
        numbers = [line.number for line in await store.lines()]
        assert promised == list(range(20))
        assert numbers == promised + [1000 + number for number in promised]
        await store.submit(line(20)).wait()


def fill_disk_at(server: PostgresServer, url: str, number: int) -> None:
    """Let the server say what it says when its disk is full, as soon as it is to write this line."""
    server.execute(
        "create function full_disk() returns trigger language plpgsql as $$ begin"
        " raise exception 'could not extend file: no space left' using errcode = 'disk_full'; end $$;"
        f"create trigger full_disk before insert on lines for each row when (new.number = {number})"
        " execute function full_disk()",
        schema_of(url),
    )


@pytest.mark.slow
async def test_a_server_that_hangs_is_given_up(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.new_ledger()
    stopped: list[int] = []

    try:
        with pytest.raises(Unavailable, match="cannot be written"):
            async with open_store(url) as store:
                stopped = stop_sessions(server)
                monkeypatch.setattr(postgres_session, "CALL_SECONDS", 0.1)
                with pytest.raises(Unavailable, match="cannot be written"):
                    await store.submit(line(0)).wait()
                await until_the_ledger_ends()
    finally:
        resume(stopped)


@pytest.mark.slow
async def test_a_look_up_on_a_server_that_hangs_is_given_up_and_ends_the_ledger(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.new_ledger()
    async with open_store(url) as store:
        await store.submit(exchange(1)).wait()
    stopped: list[int] = []

    try:
        with pytest.raises(Unavailable, match="cannot be read"):
            async with open_store(url) as store:
                stopped = stop_sessions(server)
                monkeypatch.setattr(postgres, "LOOK_UP_SECONDS", 0.1)
                with pytest.raises(Unavailable, match="cannot be read"):
                    store.exchange(PAYEE_END, exchange(1).exchange)
                await until_the_ledger_ends()
    finally:
        resume(stopped)


def stop_sessions(server: PostgresServer) -> list[int]:
    """Let the server's processes for our sessions stand still, as they do on a machine that is overloaded."""
    pids = [
        row[0]
        for row in server.execute("select pid from pg_stat_activity where application_name like 'cocoon %'")
    ]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def resume(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


async def test_a_commit_that_undid_its_transaction_is_no_commit(server: PostgresServer) -> None:
    with closing(Session(parse_url(server.url()))) as session:
        session.execute("begin")
        with pytest.raises(psycopg.Error):
            session.execute("select * from nowhere")

        with pytest.raises(psycopg.OperationalError, match="answered with ROLLBACK"):
            postgres._check_committed(session.execute("commit"))
