"""Many chats at once, on a Telegram that says 429 and loses connections: each is answered once, on its budget.

The network, its ledger and its money are real; the Bot API is the fake, over HTTP. What goes wrong with a call
follows from its chat, its method and how many there were before it, so a chat that fails does so again.
"""

import asyncio
import re
import zlib
from collections import Counter

import pytest

from cocoon_p2p.client import Budget, Wishes
from cocoon_p2p.telegram import KitSettings, Memory, delivery
from cocoon_p2p.testing.bot_api import Chat, Fault, FaultKind, FloodLimits
from cocoon_p2p.testing.engine import ScriptedEngine, echo
from cocoon_p2p.units import Nano
from tests.telegram import scene as scenes
from tests.telegram.scene import Scene, open_scene, run

QUESTIONS = ("first", "second", "third")
REFUSED = "What this chat may spend is spent."

LEAST, STEP, STEPS = 190_000, 13_000, 10
"""Limits of the chats, in nanoTON. A question of these reserves 200,000 to 300,000 and costs 13,650: so by its
limit a chat is answered never, once, twice or always."""

SETTINGS = KitSettings(memory=Memory(turns_max=1), wishes=Wishes(completion_tokens_max=16))

FAULTS = (
    (FaultKind.DROP_BEFORE, 500),
    (FaultKind.DROP_AFTER, 500),
    (FaultKind.ERROR_AFTER, 500),
    (FaultKind.ERROR, 502),
    (FaultKind.FLOOD, 429),
)
ONE_IN = 2
"Of so many calls one goes wrong."


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


def is_stub(text: str) -> bool:
    return text.endswith("\u2026")


def said(chat: Chat) -> list[str]:
    """What the bot said: not how it began to, where that stayed behind."""
    return [text for text in chat.texts if not is_stub(text)]


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


async def judge(scene: Scene, chat: Chat, limit: int) -> int:
    """Wait for a chat's end, and judge it; gives how many of its questions were answered."""
    await chat.until(lambda chat: len(said(chat)) == len(QUESTIONS))
    await asyncio.gather(*(one.wait() for one in scene.kit.runs.of(scene.bot.id, chat.id)))
    texts = said(chat)
    answered = [
        question for question, text in zip(QUESTIONS, texts, strict=True) if not text.startswith(REFUSED)
    ]

    # Each question was answered or refused, once and in its turn, and nothing else was said.
    assert all(
        text.startswith((REFUSED, f"{question} of {chat.id}\n\n"))
        for question, text in zip(QUESTIONS, texts, strict=True)
    )
    # A stub stayed behind for each sending that took effect unheard of, and for no other reason.
    sent = scene.api.called("sendMessage", chat_id=chat.id)
    unheard = [call for call in sent if call.status == 200 and not call.answered]
    assert len(chat.texts) - len(texts) == len(unheard)
    # What the purse says is what the person was told, to the nanoTON.
    purse = await scene.client.purses.look(purse_of(scene, chat))
    assert purse.total == purse.spent == sum(cost(text) for text in texts) <= limit
    assert purse.reserved == 0
    assert bool(answered) == (purse.total > 0)
    return len(answered)


def purse_of(scene: Scene, chat: Chat) -> str:
    return f"telegram/{scene.bot.id}/{chat.id}"


async def crowd(count: int) -> None:
    engine = ScriptedEngine(echo, delay_seconds=0, slots=8)
    async with open_scene(engine, settings=SETTINGS, limits=FloodLimits()) as scene:
        misfortune = scene.api.faults.policy = Misfortune()
        chats = open_chats(scene, count)
        limits = [LEAST + STEP * (number % STEPS) for number in range(count)]
        for chat, limit in zip(chats, limits, strict=True):
            await scene.client.purses.allow(purse_of(scene, chat), Budget(Nano(limit)))

        for question in QUESTIONS:
            for chat in chats:
                chat.say(f"{question} of {chat.id}" if chat.private else f"@fake_bot {question} of {chat.id}")

        judged = await asyncio.gather(*(judge(scene, *one) for one in zip(chats, limits, strict=True)))

        assert set(judged) == {0, 1, 2, 3}
        assert len(engine.requests) == sum(judged)
        assert set(misfortune.met) == {kind for kind, _ in FAULTS}


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    # A quarter of an hour of the quick clock's is little on a machine that has much else to do.
    monkeypatch.setattr(delivery, "FINISH_SECONDS", 1e9)


@pytest.mark.slow
def test_twenty_chats_are_answered_once_each_and_no_budget_is_overspent() -> None:
    run(lambda: crowd(20))


@pytest.mark.long
def test_two_hundred_chats_are_answered_once_each_and_no_budget_is_overspent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scenes, "SPEED", 20.0)

    run(lambda: crowd(200))
