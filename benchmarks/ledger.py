"""How many durable updates a second the ledger takes, by how many callers, in a file and on a server.

    python benchmarks/ledger.py [--quick]

An update is what a saved voucher writes: the channel's row and a line of the books, on disk before
its caller goes on. Each round measures one fdatasync of 4 KiB, then bare single-threaded SQLite
doing the same two statements and a commit an update (WAL, synchronous=FULL, as the ledger), then the
ledger with ever more callers that each wait for their update. Ratios are taken within a round.

Where PostgreSQL is installed, a server of its own (on the same disk, through a Unix socket, flushing)
gets the same updates of 64 callers. Beside it stands bare psycopg: one thread that sends the same two
statements for 64 updates in one pipeline and one commit, again and again.
"""

import sqlite3
import tempfile
import time
from pathlib import Path
from statistics import median

import trio
from _measure import flush_seconds, print_machine, read_arguments, spread

from cocoon_p2p.identity import Identity
from cocoon_p2p.ledger import Account, Change, ChannelName, ChannelRow, Line, Side
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.store import open_store
from cocoon_p2p.store.sqlite import STATEMENTS
from cocoon_p2p.testing.postgres import PostgresServer, find_programs, postgres_server
from cocoon_p2p.units import Nano

CALLERS = (1, 16, 64, 256)
SERVER_CALLERS = 64
PEER = Identity.from_seed(bytes(32)).peer_id
OFFER, VOUCHER, STATE = bytes(300), bytes(130), bytes(200)


def main() -> None:
    quick: bool = read_arguments(__doc__).quick
    rounds, seconds = (2, 0.2) if quick else (10, 1.0)
    print_machine()
    flushes: list[float] = []
    bare: list[float] = []
    ours: dict[int, list[float]] = {callers: [] for callers in CALLERS}
    waits: dict[int, list[float]] = {callers: [] for callers in CALLERS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            here = Path(folder) / str(number)
            here.mkdir()
            flushes.append(median(flush_seconds(here) for _ in range(100)))
            bare.append(bare_rate(here / "bare.db", seconds))
            for callers in CALLERS:
                rate, wait = trio.run(store_rate, here / f"{callers}.db", callers, seconds)
                ours[callers].append(rate)
                waits[callers].append(wait)
    print(f"fdatasync of 4 KiB              {spread([1e3 * value for value in flushes], 'ms')}")
    print(f"bare SQLite, one thread         {spread(bare, 'updates/s', 0)}")
    for callers in CALLERS:
        ratios = [mine / theirs for mine, theirs in zip(ours[callers], bare, strict=True)]
        print(f"the ledger, {callers:3} callers         {spread(ours[callers], 'updates/s', 0)}")
        print(f"    of bare SQLite's             {spread(ratios, 'times')}")
        print(f"    a caller waits (median)     {spread([1e3 * value for value in waits[callers]], 'ms')}")
    if find_programs() is None:
        print("PostgreSQL is not installed, so the ledger on a server was not measured")
    else:
        measure_server(rounds, seconds)


def measure_server(rounds: int, seconds: float) -> None:
    """Measure the ledger on a server, bare psycopg, and the ledger in a file, round by round."""
    rates: dict[str, list[float]] = {"server": [], "bare": [], "file": []}
    waits: list[float] = []
    with postgres_server(flushes=True) as server, tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            rates["bare"].append(bare_server_rate(server, seconds))
            rate, wait = trio.run(store_rate, server.new_ledger(), SERVER_CALLERS, seconds)
            rates["server"].append(rate)
            waits.append(wait)
            rates["file"].append(
                trio.run(store_rate, Path(folder) / f"{number}.db", SERVER_CALLERS, seconds)[0]
            )
    print(f"bare psycopg, 64 a pipeline     {spread(rates['bare'], 'updates/s', 0)}")
    print(f"PostgreSQL ledger, {SERVER_CALLERS} callers   {spread(rates['server'], 'updates/s', 0)}")
    for name, beside in ("of bare psycopg's", "bare"), ("of the ledger's in a file", "file"):
        ratios = [mine / theirs for mine, theirs in zip(rates["server"], rates[beside], strict=True)]
        print(f"    {name:27} {spread(ratios, 'times')}")
    print(f"    a caller waits (median)     {spread([1e3 * value for value in waits], 'ms')}")


def bare_server_rate(server: PostgresServer, seconds: float) -> float:
    from cocoon_p2p.store.postgres import STATEMENTS as SERVER_STATEMENTS

    schema = server.new_ledger().rpartition("%3D")[2]
    with server.connect(schema) as connection:
        for text in SERVER_STATEMENTS.schema:
            connection.execute(text.encode())
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            with connection.pipeline():
                connection.execute("begin", prepare=True)
                for channel in range(SERVER_CALLERS):
                    for change in update(channel, done):
                        for text, values in SERVER_STATEMENTS.of(change):
                            connection.execute(
                                text.encode(),
                                [int(v) if isinstance(v, bool) else v for v in values],
                                prepare=True,
                            )
                connection.execute("commit", prepare=True)
            done += 1
        return done * SERVER_CALLERS / (time.perf_counter() - started)


def update(channel: int, number: int) -> tuple[Change, ...]:
    """What a voucher writes."""
    name = ChannelName(Side.PAYEE, ChannelId(channel.to_bytes(32)))
    row = ChannelRow(name, PEER, OFFER, None, 1, Nano(number), Nano(0), 1, voucher=VOUCHER, state=STATE)
    return Line(name, number, Account.OWED, Account.VOUCHERS, Nano(number), None, 0), row


def bare_rate(path: Path, seconds: float) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.executescript(";".join(STATEMENTS.schema))
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        connection.execute("begin immediate")
        for change in update(0, done):
            for text, values in STATEMENTS.of(change):
                connection.execute(text, values)
        connection.execute("commit")
        done += 1
    rate = done / (time.perf_counter() - started)
    connection.close()
    return rate


async def store_rate(path: Path | str, callers: int, seconds: float) -> tuple[float, float]:
    """Give updates a second, and the median time a caller waited for one."""
    waited: list[float] = []

    async with open_store(path) as store:
        end = time.perf_counter() + seconds

        async def call(channel: int) -> None:
            number = 0
            while (begun := time.perf_counter()) < end:
                await store.submit(*update(channel, number)).wait()
                waited.append(time.perf_counter() - begun)
                number += 1

        started = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for channel in range(callers):
                nursery.start_soon(call, channel)
        took = time.perf_counter() - started
    return len(waited) / took, median(waited)


if __name__ == "__main__":
    main()
