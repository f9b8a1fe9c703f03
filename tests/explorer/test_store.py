"""What an explorer has seen outlives it."""

import sqlite3
from pathlib import Path

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.explorer.reckoning import view_of
from cocoon_p2p.explorer.store import PROXIES_KEPT_SECONDS, SERIES_MAX, DiskFailed, open_store
from cocoon_p2p.explorer.thinning import DAY_SECONDS, HOUR_SECONDS
from cocoon_p2p.units import NANO_PER_TON as TON
from tests.explorer.scene import CHANNEL, NOW, TOPS, chain, network, offer


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_what_was_seen_is_there_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "new" / "explorer.db"
    async with open_store(file, now=NOW) as store:
        await store.keep_network(network(offer()), NOW)
        await store.keep_chain(chain(CHANNEL, settled=(15, 5)), NOW)
    async with open_store(file, now=NOW + 900) as store:
        await store.keep_network(network(offer(prompt=3)), NOW + 300)
        view = view_of("net", "local", await store.standing())
        prices = await store.points(["price/prompt/m"])
        hours = await store.hours(0)
        tops = await store.tops()

    assert view.began_at == NOW
    assert view.proxies[0].first_seen == NOW
    assert view.chain is not None
    assert (view.chain.locked, view.chain.settled, view.chain.settlements) == (5 * TON, 20, 2)
    assert prices == {"price/prompt/m": [(NOW, 4), (NOW + 300, 3)]}
    assert hours == ((NOW // HOUR_SECONDS * HOUR_SECONDS, 2, 20),)
    assert tops == TOPS


async def test_of_a_channel_that_is_gone_only_sums_are_left(tmp_path: Path) -> None:
    async with open_store(tmp_path / "explorer.db", now=NOW) as store:
        await store.keep_chain(chain(CHANNEL, settled=(20,)), NOW)
        await store.keep_chain(chain(gone=(CHANNEL.account,)), NOW + 10)
        standing = await store.standing()

    assert standing.channels == ()
    assert standing.tally is not None
    assert (standing.tally.opened, standing.tally.closed, standing.tally.settled) == (1, 1, 20)
    held = all_bytes(tmp_path)
    # Nor is it left in a corner of the file.
    assert CHANNEL.payer not in held
    assert CHANNEL.account not in held


async def test_a_proxy_that_is_gone_is_not_shown_and_is_forgotten_later(tmp_path: Path) -> None:
    file = tmp_path / "explorer.db"
    async with open_store(file, now=NOW) as store:
        await store.keep_network(network(offer(), peer="old"), NOW)
        await store.keep_network(network(offer(), peer="new"), NOW + 300)
        shown = [known.proxy.peer for known in (await store.standing()).proxies]
        await store.keep_network(network(offer(), peer="new"), NOW + 301 + PROXIES_KEPT_SECONDS)
    with sqlite3.connect(file) as connection:
        kept = [peer for (peer,) in connection.execute("select peer from proxies")]
    connection.close()

    assert shown == ["new"]
    assert kept == ["new"]


async def test_names_that_change_all_the_time_do_not_fill_the_disk(tmp_path: Path) -> None:
    async with open_store(tmp_path / "explorer.db", now=NOW) as store:
        await store.keep_chain(chain(CHANNEL), NOW)
        for round_ in range(20):
            offers = [offer(f"{round_}-{number}") for number in range(64)]
            await store.keep_network(network(*offers), NOW + 300 * round_)
        series = await store.series()

    # A chain that is away meanwhile keeps its history.
    assert {"chain/locked", "chain/channels"} <= set(series)
    assert len(series) == SERIES_MAX
    # Those of the last round have room, and what goes on all the time keeps its place.
    assert {"nodes/proxies", "nodes/servers", "price/prompt/19-0"} <= set(series)
    assert "price/prompt/0-0" not in series


async def test_old_points_are_thinned_as_time_goes_on(tmp_path: Path) -> None:
    async with open_store(tmp_path / "explorer.db", now=NOW) as store:
        for number in range(24):
            await store.keep_network(network(offer()), NOW + 300 * number)
        await store.keep_network(network(offer()), NOW + 3 * DAY_SECONDS)
        points = (await store.points(["nodes/proxies"]))["nodes/proxies"]

    hours = [at // HOUR_SECONDS for at, _ in points]
    assert len(set(hours)) == len(hours) == 3 + (NOW % HOUR_SECONDS != 0)


async def test_another_programs_file_and_a_later_versions_are_refused(tmp_path: Path) -> None:
    foreign, later = tmp_path / "foreign.db", tmp_path / "later.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("create table things (name)")
    connection.close()
    async with open_store(later, now=NOW):
        pass
    with sqlite3.connect(later) as connection:
        connection.execute("pragma user_version = 99")
    connection.close()

    for file in (foreign, later):
        with pytest.raises(ConfigurationError) as caught:
            async with open_store(file, now=NOW):
                pass
        assert caught.value.hint


async def test_a_second_process_reads_while_the_first_one_writes(tmp_path: Path) -> None:
    file = tmp_path / "explorer.db"
    async with open_store(file, now=NOW) as writing, open_store(file, now=0, is_read_only=True) as reading:
        await writing.keep_network(network(offer()), NOW)
        standing = await reading.standing()

    assert [known.proxy.peer for known in standing.proxies] == ["12D3KooWa"]


async def test_what_does_not_change_is_noted_now_and_then(tmp_path: Path) -> None:
    async with open_store(tmp_path / "explorer.db", now=NOW) as store:
        for number in range(61):
            await store.keep_chain(chain(CHANNEL), NOW + 10 * number)
        await store.keep_chain(chain(gone=(CHANNEL.account,)), NOW + 610)
        points = await store.points(["chain/channels"])

    assert points == {"chain/channels": [(NOW, 1), (NOW + 300, 1), (NOW + 600, 1), (NOW + 610, 0)]}


async def test_a_look_that_cannot_be_written_changes_nothing_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "explorer.db"
    async with open_store(file, now=NOW) as store:
        await store.keep_chain(chain(CHANNEL, settled=(5,)), NOW)
        store._connection.execute("pragma query_only = on")
        with pytest.raises(DiskFailed):
            await store.keep_chain(chain(settled=(7,)), NOW + 10)
        store._connection.execute("pragma query_only = off")
        tally = (await store.standing()).tally

    assert tally is not None
    assert (tally.settled, tally.at) == (5, NOW)
