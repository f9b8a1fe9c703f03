"""API keys: what is kept of them, who finds one, and how often it may ask."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.client import Budget, Purses
from cocoon_p2p.errors import ConfigurationError, Refused
from cocoon_p2p.gateway import keys as module
from cocoon_p2p.gateway.keys import ApiKey, Keys
from cocoon_p2p.gateway.rate import Bucket, take
from cocoon_p2p.ledger import Note
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.units import Nano

NOW = 1_800_000_000.0


async def open_keys(disk: MemoryDisk) -> tuple[Keys, Purses]:
    store = MemoryStore(disk)
    purses = Purses(store, lambda: NOW)
    await purses.load()
    keys = Keys(store, purses, lambda: NOW)
    await keys.load()
    return keys, purses


async def test_a_key_is_found_by_its_secret_also_in_another_life() -> None:
    disk = MemoryDisk()
    keys, purses = await open_keys(disk)
    key, secret = await keys.create("a shop", Budget(Nano(100), 86_400), 60)

    assert key == ApiKey(key.id, "a shop", f"key/{key.id}", 60, int(NOW))
    assert keys.find(secret) == key
    assert (await purses.look(key.purse)).left == 100

    keys, purses = await open_keys(disk)
    assert keys.find(secret) == key
    assert keys.list() == (key,)
    assert (await purses.look(key.purse)).budget == Budget(Nano(100), 86_400)


async def test_the_ledger_holds_nothing_of_a_secret() -> None:
    disk = MemoryDisk()
    keys, _ = await open_keys(disk)
    _, secret = await keys.create("a shop", None)

    bare = secret.removeprefix("sk-cocoon-")
    assert len(bare) == 43
    for key, value in disk.notes.items():
        assert bare.encode() not in value
        assert bare not in key


@pytest.mark.parametrize("wrong", ["", "sk-cocoon-", "x" * 10_000, "\ud800", "sk-cocoon-" + "A" * 43])
async def test_what_is_no_secret_finds_nobody(wrong: str) -> None:
    keys, _ = await open_keys(MemoryDisk())
    _, secret = await keys.create("a shop", None)

    assert keys.find(wrong) is None
    assert keys.find(secret[:-1]) is None
    assert keys.find(secret + "A") is None
    assert keys.find(secret.swapcase()) is None


async def test_a_key_that_was_taken_back_finds_nobody_and_its_purse_stays() -> None:
    disk = MemoryDisk()
    keys, purses = await open_keys(disk)
    key, secret = await keys.create("a shop", Budget(Nano(100)))
    other, second = await keys.create("another", None)
    await keys.revoke(key.id)

    assert keys.find(secret) is None
    assert keys.find(second) == other
    assert (await purses.look(key.purse)).left == 100
    keys, _ = await open_keys(disk)
    assert keys.list() == (other,)
    with pytest.raises(ConfigurationError, match="no such key"):
        await keys.revoke(key.id)


async def test_a_crash_while_a_key_is_made_never_leaves_one_without_its_budget() -> None:
    for landed in range(3):
        disk = MemoryDisk()
        store = MemoryStore(disk, die_after=landed or None)
        purses = Purses(store, lambda: NOW)
        await purses.load()
        keys = Keys(store, purses, lambda: NOW)
        with trio.move_on_after(0.01):
            await keys.create("a shop", Budget(Nano(100)))

        keys, purses = await open_keys(disk.copy())
        for key in keys.list():
            assert (await purses.look(key.purse)).budget is not None


@pytest.mark.parametrize("name", ["", "x" * 65, "line\nend", "\ud800"])
async def test_a_name_out_of_range_is_refused(name: str) -> None:
    keys, _ = await open_keys(MemoryDisk())

    with pytest.raises(ConfigurationError, match="name"):
        await keys.create(name, None)
    assert keys.list() == ()


@pytest.mark.parametrize("rate", [0, -1, 10**9])
async def test_a_rate_out_of_range_is_refused(rate: int) -> None:
    keys, _ = await open_keys(MemoryDisk())

    with pytest.raises(ConfigurationError, match="requests_per_minute"):
        await keys.create("a shop", None, rate)


async def test_there_is_an_end_to_how_many_keys_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEYS_MAX", 1)
    keys, _ = await open_keys(MemoryDisk())
    key, _ = await keys.create("a shop", None)

    with pytest.raises(Refused, match="too many keys"):
        await keys.create("another", None)
    await keys.revoke(key.id)
    await keys.create("another", None)


async def test_a_note_that_cannot_be_read_is_no_reason_to_let_everybody_in() -> None:
    disk = MemoryDisk()
    disk.write(Note("gateway-key/00", b"\xff"))

    with pytest.raises(ConfigurationError, match="API key"):
        await open_keys(disk)


async def test_a_key_may_ask_as_often_as_it_says_and_is_told_how_long_to_wait() -> None:
    keys, _ = await open_keys(MemoryDisk())
    key, _ = await keys.create("a shop", None, 2)
    free, _ = await keys.create("another", None)

    assert [keys.admit(key, 5.0) for _ in range(3)] == [None, None, 30.0]
    assert keys.admit(key, 34.9) == pytest.approx(0.1)
    assert keys.admit(key, 35.0) is None
    assert all(keys.admit(free, 5.0) is None for _ in range(1000))


@given(
    per_minute=st.integers(1, 600),
    pauses=st.lists(st.floats(-5, 30, width=32), min_size=1, max_size=60),
)
def test_in_no_time_are_more_admitted_than_a_minutes_worth_and_what_flowed_in(
    per_minute: int, pauses: list[float]
) -> None:
    bucket: Bucket | None = None
    now, admitted, passed = 0.0, 0, 0.0
    for pause in pauses:
        now, passed = now + pause, passed + max(0.0, pause)
        bucket, wait = take(bucket, per_minute, now)
        admitted += wait is None
        if wait is not None:
            assert 0 < wait <= 60 / per_minute + 1e-6
            bucket, again = take(bucket, per_minute, bucket.at + wait + 1e-6)
            now, passed, admitted = bucket.at, passed + wait + 1e-6, admitted + 1
            assert again is None

    assert admitted <= per_minute + passed * per_minute / 60 + 1e-3
