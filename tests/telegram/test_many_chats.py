"""Many chats, on a Telegram that says 429 and loses connections: each is answered once, on its budget.

The network, its ledger and its money are real; the Bot API is the fake, over HTTP. What goes wrong with a
call follows from its chat, its method and how many there were before it: a chat that fails does so again.
"""

import asyncio
import re
import zlib
from collections import Counter
from collections.abc import Coroutine

import pytest
from aiogram.types import Message

from cocoon_p2p.client import Budget, Wishes
from cocoon_p2p.telegram import BotKit, KitSettings, Memory, Run, delivery
from cocoon_p2p.testing.bot_api import Chat, Fault, FaultKind, FloodLimits
from cocoon_p2p.testing.bot_api.changes import Changes
from cocoon_p2p.testing.engine import ScriptedEngine, echo
from cocoon_p2p.units import Nano
from tests.telegram import scene as scenes
from tests.telegram.scene import Scene, open_scene

QUESTIONS = ("first", "second", "third")

LEAST, STEP, STEPS = 200_000, 10_000, 20
"""Limits of the chats, in nanoTON. A question reserves some 270,000 and costs 10,500, so that by its limit a
chat is answered never, once, twice or always."""

SETTINGS = KitSettings(memory=Memory(turns_max=1), wishes=Wishes(completion_tokens_max=16), runs_max=1_000)

FAULTS = (
    (FaultKind.DROP_BEFORE, 500),
    (FaultKind.DROP_AFTER, 500),
    (FaultKind.ERROR_AFTER, 500),
    (FaultKind.ERROR, 502),
    (FaultKind.FLOOD, 429),
)
ONE_IN = 2
"Of so many calls one goes wrong."


WAIT_SECONDS = 240.0
"For all of it: two hundred chats take some 15 s of one core."


class Misfortune:
    """Faults by the hash of a call's place in its chat."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[int | None, str]] = Counter()
        self.met: Counter[FaultKind] = Counter()

    def __call__(self, method: str, chat_id: int | None) -> Fault | None:
        if method == "getUpdates":
            return None
        self.counts[chat_id, method] += 1
        lot = zlib.crc32(f"{chat_id} {method} {self.counts[chat_id, method]}".encode())
        if lot % ONE_IN:
            return None
        kind, status = FAULTS[lot // ONE_IN % len(FAULTS)]
        self.met[kind] += 1
        return Fault(kind, status=status, retry_after=1 + lot % 3)


def cost(text: str) -> int:
    """What an answer says that it cost, in nanoTON; nothing where none was bought."""
    found = re.search(r"^0\.(\d+) TON", text, re.MULTILINE)
    return int(found[1].ljust(9, "0")) if found else 0


def open_chats(scene: Scene, count: int) -> list[Chat]:
    """Open private chats, and each fifth a group."""
    people = [scene.api.user(1_000 + number) for number in range(count)]
    return [
        scene.api.group(person) if number % 5 == 0 else scene.api.private(person)
        for number, person in enumerate(people)
    ]


async def judge(scene: Scene, chat: Chat, limit: int, runs: list[Run]) -> int:
    """Judge what came of a chat's questions; gives how many of them were answered."""
    told = [run.told for run in runs if run.told is not None]
    answers = [one.text for one in told if one.bill is not None]
    assert len(told) == len(QUESTIONS)
    assert all(one.is_delivered for one in told)
    assert all(one.text == "" for one in told if one.error is not None)
    assert len(set(answers)) == len(answers)
    assert set(answers) <= {f"{question} of {chat.id}" for question in QUESTIONS}

    # Each answer that was paid for stands once.
    paid = [text for text in chat.texts if cost(text)]
    assert [text.partition("\n")[0] for text in paid] == answers
    # Each sending that took effect unheard of left a message behind, and nothing else did.
    sent = scene.api.called("sendMessage", chat_id=chat.id)
    unheard = [call for call in sent if call.status == 200 and not call.answered]
    assert len(chat.texts) == len(QUESTIONS) + len(unheard)
    assert not any(answer in text for answer in answers for text in chat.texts if text not in paid)
    # What the purse says is what the person was told, to the nanoTON.
    purse = await scene.client.purses.look(purse_of(scene, chat))
    owed = sum(map(cost, paid))
    if all(one.bill is None or one.bill.is_settled for one in told):
        assert (purse.total, purse.reserved) == (owed, 0)
    # On a machine that has much else to do a worker's word may come too late to be waited for.
    assert owed <= purse.total + purse.reserved <= limit
    return len(answers)


class Asked:
    """What a kit was asked for in chats, in order."""

    def __init__(self, kit: BotKit) -> None:
        self._chat = kit.chat
        self._runs: list[Run] = []
        self._more = Changes()

    async def chat(self, message: Message, text: str | None = None) -> Run | None:
        """Ask, and keep what came of it."""
        run = await self._chat(message, text)
        if run is not None:
            self._runs.append(run)
            self._more.tell()
        return run

    async def answered(self, count: int) -> list[Run]:
        """Wait for so many answers."""
        await self._more.until(lambda: len(self._runs) == count, seconds=WAIT_SECONDS)
        for run in self._runs:
            await run.wait()
        return self._runs


def purse_of(scene: Scene, chat: Chat) -> str:
    return f"telegram/{scene.bot.id}/{chat.id}"


async def crowd(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine(echo, delay_seconds=0, slots=8)
    async with open_scene(engine, settings=SETTINGS, limits=FloodLimits()) as scene:
        misfortune = scene.api.faults.policy = Misfortune()
        asked = Asked(scene.kit)
        monkeypatch.setattr(scene.kit, "chat", asked.chat)
        chats = open_chats(scene, count)
        limits = [LEAST + STEP * (number % STEPS) for number in range(count)]
        for chat, limit in zip(chats, limits, strict=True):
            await scene.client.purses.allow(purse_of(scene, chat), Budget(Nano(limit)))

        for question in QUESTIONS:
            for chat in chats:
                chat.say(f"{question} of {chat.id}" if chat.private else f"@fake_bot {question} of {chat.id}")
        runs = await asked.answered(count * len(QUESTIONS))

        judged = [
            await judge(scene, chat, limit, [run for run in runs if run.place.chat_id == chat.id])
            for chat, limit in zip(chats, limits, strict=True)
        ]
        # A machine that has much else to do may refuse for reasons of its own ("stale").
        told = [run.told for run in runs if run.told is not None and run.told.error is not None]
        if {one.error.code for one in told if one.error is not None} == {"over-budget"}:
            assert set(judged) == {0, 1, 2, 3}
            assert len(engine.requests) == sum(judged)
        assert set(misfortune.met) == {kind for kind, _ in FAULTS}


def run(program: Coroutine[None, None, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            await program

    asyncio.run(bounded())


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    # A quarter of an hour of the quick clock's is little on a machine that has much else to do.
    monkeypatch.setattr(delivery, "FINISH_SECONDS", 1e9)


@pytest.mark.slow
def test_twenty_chats_are_answered_once_each_and_no_budget_is_overspent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(crowd(20, monkeypatch))


@pytest.mark.long
def test_two_hundred_chats_are_answered_once_each_and_no_budget_is_overspent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scenes, "SPEED", 20.0)

    run(crowd(200, monkeypatch))
