"""Floods, broken connections, blocked bots: an answer is there once, and none is bought for nobody."""

import pytest

from cocoon_p2p.testing.bot_api import Chat
from cocoon_p2p.testing.engine import ScriptedEngine
from tests.telegram.scene import HELLO, Scene, open_scene, run
from tests.telegram.test_kit import LONG, drafts, ended, endless

pytestmark = pytest.mark.slow


def test_a_chat_that_floods_is_shown_fewer_frames_and_the_whole_end() -> None:
    words = tuple(f"{number} " for number in range(60))
    engine = ScriptedEngine(words, delay_seconds=0.005)

    async def program() -> None:
        async with open_scene(engine, settings=LONG) as scene:
            group = scene.api.group(scene.api.user(7))
            for _ in range(3):
                scene.api.faults.flood("editMessageText", retry_after=2)
            scene.api.faults.flood("sendMessage", retry_after=3)
            group.say("@fake_bot Hello")

            (text,) = await group.until(ended)

            assert text.startswith("".join(words).strip())
            assert not scene.api.faults.left
            assert len(group.from_bots) == 1

    run(program)


@pytest.mark.parametrize("method", ["sendMessage", "editMessageText"])
@pytest.mark.parametrize("place", ["private", "group"])
def test_a_connection_that_breaks_leaves_the_answer_there_once(method: str, place: str) -> None:
    async def program() -> None:
        async with open_scene() as scene:
            chat = scene.api.private(7) if place == "private" else scene.api.group(scene.api.user(7))
            scene.api.faults.drop_after(method)
            scene.api.faults.drop_before(method)
            scene.api.faults.error(method, status=502, after=True)
            scene.api.faults.error(method, status=500)
            chat.say("@fake_bot Hello")

            (text,) = await chat.until(ended)
            await _over(scene, chat)

            assert text.startswith(HELLO)
            assert len(ended(chat)) == 1
            assert not [one for one in chat.texts if HELLO in one and one != text]
            if not scene.api.faults.left:
                assert len(chat.from_bots) == (3 if method == "sendMessage" else 1)

    run(program)


def test_nobody_pays_for_an_answer_to_a_chat_that_blocked_the_bot() -> None:
    engine = endless()

    async def program() -> None:
        async with open_scene(engine, settings=LONG) as scene:
            chat = scene.api.private(7)
            chat.say("Hello")
            await chat.until(drafts)
            (waiting,) = scene.kit.runs.of(scene.bot.id, 7)

            chat.block()

            told = await waiting.wait()
            assert told is not None
            assert told.is_stopped
            assert not told.is_delivered
            assert told.bill is not None
            assert engine.running == 0
            assert engine.tokens_made[0] < 1_500

    run(program)


def test_a_message_that_somebody_deletes_is_delivered_again() -> None:
    engine = ScriptedEngine(tuple(f"{number} " for number in range(100)), delay_seconds=0.01)

    async def program() -> None:
        async with open_scene(engine, settings=LONG) as scene:
            group = scene.api.group(scene.api.user(7))
            group.say("@fake_bot Hello")
            message = (await group.until(lambda group: group.from_bots))[0]

            group.remove(message)

            (text,) = await group.until(ended)
            assert "98 99" in text

    run(program)


async def _over(scene: Scene, chat: Chat) -> None:
    for waiting in scene.kit.runs.of(scene.bot.id, chat.id):
        await waiting.wait()
