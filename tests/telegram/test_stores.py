"""What is remembered of chats, and where: bounded, kept over restarts, and gone when it is forgotten."""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import CocoonError, ConfigurationError
from cocoon_p2p.telegram import Choices, Memory, MemoryStore, Place, Talk, Turn, open_sqlite_store, store
from cocoon_p2p.telegram.store import Talks
from cocoon_p2p.telegram.talk import recent, said

HERE = Place(1, -100, 5)
TALK = Talk((Turn("user", "a secret \U0001f600"), Turn("assistant", "kept")), Choices("qwen", "es"))

TURNS = st.lists(st.builds(Turn, st.sampled_from(["user", "assistant"]), st.text(max_size=30)), min_size=1)
MEMORIES = st.builds(Memory, st.integers(1, 10), st.integers(0, 400))


@given(TURNS, MEMORIES)
def test_the_newest_turns_are_kept_within_both_bounds(turns: list[Turn], memory: Memory) -> None:
    turns = [*turns, Turn("user", "and now?")]

    kept = recent(turns, memory)

    assert list(kept) == turns[len(turns) - len(kept) :]
    assert kept[0].role == "user"
    assert len(kept) <= memory.turns_max
    assert len(kept) == 1 or sum(turn.size_bytes for turn in kept) <= memory.size_max_bytes


@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.text(max_size=20)), max_size=20), MEMORIES)
def test_a_talk_never_outgrows_its_memory(exchanges: list[tuple[str, str]], memory: Memory) -> None:
    talk = Talk()

    for question, answer in exchanges:
        talk = said(talk, question, answer, memory)

    assert len(talk.turns) <= memory.turns_max


def test_a_question_without_an_answer_is_not_remembered() -> None:
    assert said(TALK, "and now?", " \n", Memory()) == TALK


def test_memory_forgets_who_was_not_heard_of_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "TALKS_MAX", 2)

    async def program() -> None:
        kept = MemoryStore()
        for chat in (1, 2, 1, 3):
            await kept.save(Place(1, chat), TALK)

        assert [await kept.load(Place(1, chat)) for chat in (1, 2, 3)] == [TALK, Talk(), TALK]

    asyncio.run(program())


def test_a_file_of_talks_outlives_the_program_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    file = tmp_path / "talks.sqlite"

    async def program() -> None:
        async with open_sqlite_store(file) as kept:
            assert await kept.load(HERE) == Talk()
            await kept.save(HERE, TALK)
        async with open_sqlite_store(file) as kept:
            assert await kept.load(HERE) == TALK
            assert await kept.load(Place(1, -100)) == Talk()

    asyncio.run(program())
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_was_forgotten_is_nowhere_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "talks.sqlite"

    async def program() -> None:
        async with open_sqlite_store(file) as kept:
            await kept.save(HERE, TALK)
            assert b"a secret" in _bytes(tmp_path)
            await kept.save(HERE, Talk(choices=TALK.choices))
            assert b"a secret" not in _bytes(tmp_path)

    asyncio.run(program())


@pytest.mark.parametrize("broken", ["{", "7", '[["user"]]', "[[1, 2]]", '[["user", 7]]', '{"a": 1}'])
def test_a_row_that_nobody_can_read_is_an_empty_talk(broken: str, tmp_path: Path) -> None:
    file = tmp_path / "talks.sqlite"

    async def program() -> None:
        async with open_sqlite_store(file) as kept:
            await kept.save(HERE, TALK)
        with sqlite3.connect(file) as connection:
            connection.execute("UPDATE talk SET turns = ?", (broken,))
        connection.close()
        async with open_sqlite_store(file) as kept:
            assert await kept.load(HERE) == Talk()

    asyncio.run(program())


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "talks.sqlite").write_text("no database, but long enough to be looked at by one" * 20)

    async def program() -> None:
        for file in (tmp_path / "talks.sqlite", tmp_path / "nowhere" / "talks.sqlite"):
            with pytest.raises(ConfigurationError, match="cannot use"):
                async with open_sqlite_store(file):
                    raise AssertionError("it was opened")

    asyncio.run(program())


def test_a_disk_that_fails_is_an_error_with_a_code(tmp_path: Path) -> None:
    async def program() -> None:
        async with open_sqlite_store(tmp_path / "talks.sqlite") as kept:
            with sqlite3.connect(tmp_path / "talks.sqlite") as connection:
                connection.execute("DROP TABLE talk")
            connection.close()
            for failing in (kept.load(HERE), kept.save(HERE, TALK)):
                with pytest.raises(CocoonError) as caught:
                    await failing
                assert caught.value.code == "store-failed"

    asyncio.run(program())


def test_of_two_changes_at_the_same_time_none_is_lost() -> None:
    class Slow(MemoryStore):
        async def load(self, place: Place) -> Talk:
            await asyncio.sleep(0)
            return await super().load(place)

    async def program() -> None:
        talks = Talks(Slow())

        await asyncio.gather(
            talks.change(HERE, lambda talk: replace(talk, choices=TALK.choices)),
            talks.change(HERE, lambda talk: replace(talk, turns=TALK.turns)),
        )

        assert await talks.load(HERE) == TALK

    asyncio.run(program())


def test_a_memory_of_nothing_remembers_nothing() -> None:
    assert said(TALK, "and now?", "this", Memory(turns_max=0)).turns == ()
    assert recent((*TALK.turns, Turn("user", "and now?")), Memory(turns_max=0)) == (Turn("user", "and now?"),)


def _bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())
