"""The kit in a bot: what people see in private chats and in groups, and what is paid for it."""

import asyncio

import pytest
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup

from cocoon_p2p.client import Budget, Wishes
from cocoon_p2p.inference.engine import GenerateRequest
from cocoon_p2p.protocols.ids import Kind
from cocoon_p2p.telegram import KitSettings, Memory
from cocoon_p2p.testing.bot_api import Chat, Draft
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model
from cocoon_p2p.units import Nano
from tests.telegram.scene import HELLO, Scene, make_bot, make_dispatcher, open_scene, run

pytestmark = pytest.mark.slow

ENDLESS = ("word ",) * 4_000
WARNED = "can read this chat."


def ended(chat: Chat) -> list[str]:
    """Give the answers that are there in whole: those with a footer."""
    return [text for text in chat.texts if text.endswith(WARNED)]


def drafts(chat: Chat) -> list[Draft]:
    """Give the drafts that were shown of an endless answer, also those that have gone by themselves."""
    shown = [sight.draft for sight in chat.history if sight.draft is not None]
    return [draft for draft in shown if "word word" in draft.content.text]


def endless() -> ScriptedEngine:
    return ScriptedEngine(ENDLESS, delay_seconds=0.01)


LONG = KitSettings(wishes=Wishes(completion_tokens_max=1_500))


# ---------------------------------------------------------------- private chats


def test_a_private_chat_sees_a_draft_grow_and_then_one_message_with_its_cost() -> None:
    async def program() -> None:
        async with open_scene() as scene:
            chat = scene.api.private(7)
            chat.say("Hello")

            (text,) = await chat.until(ended)

            body, cost, *_ = text.split("\n\n")[0], *text.split("\n\n")[1].split("\n")
            assert body == HELLO
            assert cost.endswith("TON \u00b7 scripted \u00b7 trust open")
            assert len(chat.from_bots) == 1
            shown = [sight.draft.content.text for sight in chat.history if sight.draft is not None]
            assert shown[0] == ""
            assert all(HELLO.startswith(text) for text in shown)
            purse = await scene.client.purses.look(f"telegram/{scene.bot.id}/7")
            assert f"{purse.total / 1e9:.9f}".rstrip("0") == cost.split()[0]

    run(program)


def test_the_button_of_a_draft_stops_the_worker_and_what_came_is_delivered() -> None:
    engine = endless()

    async def program() -> None:
        async with open_scene(engine, settings=LONG) as scene:
            chat = scene.api.private(7)
            chat.say("Hello")
            draft = (await chat.until(drafts))[-1]

            chat.stop(draft)

            (text,) = await chat.until(ended)
            assert text.startswith("word word")
            assert "Stopped." in text
            assert engine.running == 0
            assert engine.tokens_made[0] < 1_500

    run(program)


def test_stop_as_a_command_stops_what_runs_and_what_waits() -> None:
    engine = endless()

    async def program() -> None:
        async with open_scene(engine, settings=LONG) as scene:
            chat = scene.api.private(7)
            chat.say("one")
            await chat.until(drafts)
            chat.say("two")
            await _until_waiting(scene, 7, 2)

            chat.say("/stop")

            await chat.until(ended)
            await _until_waiting(scene, 7, 0)
            assert len(chat.from_bots) == 1
            assert len(engine.requests) == 1
            chat.say("/stop")
            await chat.until(lambda chat: "nothing to stop" in chat.texts[-1])

    run(program)


class Thinking(ScriptedEngine):
    """Reads the prompt, and says nothing."""

    has_read = False

    async def _break_down_at(self, count: int) -> None:
        # Whoever asks for the first token has been told that the prompt is read.
        self.has_read = True
        await super()._break_down_at(count)


def test_what_is_stopped_before_its_first_word_says_what_it_has_cost() -> None:
    engine = Thinking(stall_at=0, prefill_steps=1)

    async def program() -> None:
        async with open_scene(engine) as scene:
            chat = scene.api.private(7)
            chat.say("Hello")
            while not engine.has_read:  # noqa: ASYNC110 (it runs in another thread)
                await asyncio.sleep(0.001)

            chat.say("/stop")

            (text,) = await chat.until(lambda chat: [text for text in chat.texts if "Stopped." in text])
            assert " TON" in text

    run(program)


def test_a_chat_asks_one_thing_after_the_other_and_not_too_many() -> None:
    engine = ScriptedEngine(delay_seconds=0.01, slots=1)

    async def program() -> None:
        async with open_scene(engine, settings=KitSettings(waiting_max=2)) as scene:
            chat = scene.api.private(7)
            for text in ("one", "two", "three"):
                chat.say(text)

            await chat.until(lambda chat: len(ended(chat)) == 2)

            assert sum("still waiting" in text for text in chat.texts) == 1
            assert [request.messages[-1].content for request in engine.requests] == ["one", "two"]

    run(program)


def test_who_asks_too_much_is_told_so_a_few_times_and_then_not_at_all() -> None:
    engine = ScriptedEngine(stall_at=0)

    async def program() -> None:
        async with open_scene(engine, settings=KitSettings(waiting_max=1)) as scene:
            group = scene.api.group(scene.api.user(7))
            for _ in range(60):
                group.say("@fake_bot Hello")
            await group.until(lambda group: [text for text in group.texts if "still waiting" in text])

            group.say("/stop")

            await group.until(lambda group: "Stopped." in group.texts)
            # What would wait longer than ten seconds of Telegram's for its turn is not said.
            assert sum("still waiting" in text for text in group.texts) < 30

    run(program)


def test_what_was_said_is_remembered_and_forgotten_at_new() -> None:
    engine = ScriptedEngine(delay_seconds=0)
    settings = KitSettings(instructions="Be brief.", memory=Memory(turns_max=3))

    async def program() -> None:
        async with open_scene(engine, settings=settings) as scene:
            chat = scene.api.private(7)
            for number, text in enumerate(("one", "two", "three"), 1):
                chat.say(text)
                await chat.until(lambda chat, number=number: len(ended(chat)) == number)
                await _until_waiting(scene, 7, 0)
            chat.say("/new")
            await chat.until(lambda chat: "Forgotten." in chat.texts)
            chat.say("four")
            await chat.until(lambda chat: len(ended(chat)) == 4)

            assert _said(engine.requests[1]) == ["Be brief.", "one", HELLO, "two"]
            # Two answers and three questions are five, of which three are remembered.
            assert _said(engine.requests[2]) == ["Be brief.", "two", HELLO, "three"]
            assert _said(engine.requests[3]) == ["Be brief.", "four"]

    run(program)


def test_what_is_being_answered_at_new_is_forgotten_too() -> None:
    engine = endless()

    async def program() -> None:
        async with open_scene(engine, settings=LONG) as scene:
            chat = scene.api.private(7)
            chat.say("a secret")
            draft = (await chat.until(drafts))[-1]
            chat.say("/new")
            await chat.until(lambda chat: "Forgotten." in chat.texts)
            chat.stop(draft)
            await chat.until(ended)
            await _until_waiting(scene, 7, 0)
            seen = len(drafts(chat))

            chat.say("and now?")

            await chat.until(lambda chat: len(drafts(chat)) > seen)
            assert _said(engine.requests[1]) == ["and now?"]

    run(program)


def test_a_handler_does_not_wait_for_an_answer() -> None:
    engine = ScriptedEngine(stall_at=0)

    async def program() -> None:
        async with open_scene(engine) as scene:
            chat = scene.api.private(7)
            chat.say("Hello")
            await _until_waiting(scene, 7, 1)

            chat.say("/new")

            await chat.until(lambda chat: "Forgotten." in chat.texts)
            assert scene.kit.runs.of(scene.bot.id, 7)

    run(program)


# ---------------------------------------------------------------- groups


def test_a_group_is_answered_where_the_bot_is_mentioned_or_replied_to() -> None:
    engine = ScriptedEngine(delay_seconds=0)

    async def program() -> None:
        async with open_scene(engine) as scene:
            scene.api.bot.privacy = False
            group = scene.api.group(scene.api.user(7), scene.api.user(8, "Bob"))
            group.say("nobody is asked")
            asked = group.say("@fake_bot Hello")
            await group.until(ended)
            answer = group.from_bots[0]
            assert answer.reply_to is not None
            assert answer.reply_to.message_id == asked.message_id

            group.say("and now?", reply_to=answer, by=scene.api.user(8))

            await group.until(lambda group: len(ended(group)) == 2)
            assert [request.messages[-1].content for request in engine.requests] == ["Hello", "and now?"]
            assert not scene.api.called("sendMessageDraft")
            assert "typing" in group.actions

    run(program)


def test_only_who_asked_or_an_administrator_can_stop_an_answer() -> None:
    engine = endless()

    async def program() -> None:
        async with open_scene(engine, settings=LONG) as scene:
            owner, asker, other = scene.api.user(7), scene.api.user(8, "Bob"), scene.api.user(9, "Eve")
            group = scene.api.group(owner, asker, other)
            for person in (asker, owner):
                group.say("@fake_bot Hello", by=person)
                await group.until(_buttons)
                refused = group.press("Stop", by=other)
                assert "Only who asked" in str((await refused.answered())["text"])
                assert engine.running == 1

                group.press("Stop", by=person)

                await group.until(lambda group: ended(group) and not _buttons(group))
                await _until_waiting(scene, group.id, 0)
                assert engine.running == 0

    run(program)


def test_who_says_that_they_pressed_what_is_not_there_takes_no_buttons_away() -> None:
    async def program() -> None:
        async with open_scene() as scene:
            eve = scene.api.user(9, "Eve")
            group = scene.api.group(scene.api.user(7), eve)
            other = InlineKeyboardButton(text="Vote", callback_data="vote")
            await scene.bot.send_message(
                group.id, "A poll", reply_markup=InlineKeyboardMarkup(inline_keyboard=[[other]])
            )
            question = scene.api.bot.ask("callback", eve, scene.api.world.clock())
            pressed = {
                "id": question.id,
                "from": eve.as_json(),
                "chat_instance": "1",
                "data": "cocoon-stop:1",
            }

            scene.api.bot.updates.put("callback_query", pressed | {"message": group.messages[-1].as_json()})

            assert "nothing to stop" in str((await question.answered())["text"])
            assert _buttons(group)

    run(program)


def test_a_topic_is_answered_in_the_topic() -> None:
    async def program() -> None:
        async with open_scene() as scene:
            group = scene.api.group(scene.api.user(7))
            topic = group.open_topic()
            group.say("@fake_bot Hello", thread_id=topic)

            await group.until(ended)

            assert group.from_bots[0].thread_id == topic

    run(program)


# ---------------------------------------------------------------- answers of all kinds


def test_a_long_answer_becomes_several_messages_of_which_one_has_the_cost() -> None:
    line = "A line of about fifty characters, as they come here. "
    engine = ScriptedEngine((line,) * 200, delay_seconds=0)

    async def program() -> None:
        async with open_scene(engine, settings=LONG) as scene:
            chat = scene.api.private(7)
            chat.say("Hello")

            await chat.until(ended)

            assert " ".join(" ".join(chat.texts).split()).startswith((line * 200).strip())
            assert [text.endswith(WARNED) for text in chat.texts] == [False, False, True]

    run(program)


def test_an_answer_that_never_ends_is_not_bought_to_the_end() -> None:
    engine = endless()
    settings = KitSettings(answer_units_max=100, wishes=LONG.wishes)

    async def program() -> None:
        async with open_scene(engine, settings=settings) as scene:
            chat = scene.api.private(7)
            chat.say("Hello")

            (text,) = await chat.until(ended)

            assert "the rest was not bought" in text
            assert engine.tokens_made[0] < 500

    run(program)


def test_what_a_model_writes_is_shown_and_cannot_be_markup() -> None:
    hostile = ("<b>not bold</b> &amp; [x](tg://user?id=7) **bold** `co", "de` _unclosed *")
    engine = ScriptedEngine(hostile, delay_seconds=0)

    async def program() -> None:
        async with open_scene(engine) as scene:
            chat = scene.api.private(7)
            chat.say("Hello")

            (text,) = await chat.until(ended)

            assert text.startswith("<b>not bold</b> &amp; x (tg://user?id=7) bold code _unclosed *")
            content = chat.from_bots[0].content
            assert content.spans("bold") == ["bold"]
            assert content.spans("code") == ["code"]
            assert content.spans("text_mention") == content.spans("text_link") == []

    run(program)


def test_an_answer_that_breaks_off_shows_what_came_and_what_it_cost() -> None:
    engine = ScriptedEngine(fail_at=2, delay_seconds=0)

    async def program() -> None:
        async with open_scene(engine) as scene:
            chat = scene.api.private(7)
            chat.say("Hello")

            (text,) = await chat.until(ended)

            assert text.startswith("Hello")
            assert "\n\nIt broke off here. The model broke down over this.\n\n" in text
            assert " TON" in text

    run(program)


def test_a_refusal_is_said_in_words_and_costs_nothing() -> None:
    async def program() -> None:
        async with open_scene(settings=KitSettings(model="nobody-has-this")) as scene:
            chat = scene.api.private(7)
            chat.say("Hello")

            await chat.until(
                lambda chat: chat.texts == ["Nobody offers this model now. Choose another one with /model."]
            )

    run(program)


def test_a_chat_spends_its_budget_and_no_more() -> None:
    budget = Budget(Nano(300_000), 86_400)
    settings = KitSettings(budget=budget, wishes=Wishes(completion_tokens_max=4))

    async def program() -> None:
        async with open_scene(settings=settings) as scene:
            chat = scene.api.private(7)
            # An answer costs some 10,000, and what it could cost must be there before it is asked for.
            for _ in range(4):
                chat.say("Hello")
            await chat.until(lambda chat: any("may spend is spent" in text for text in chat.texts))
            await _until_waiting(scene, 7, 0)

            assert ended(chat)
            assert any("That may change in" in text for text in chat.texts)
            purse = await scene.client.purses.look(f"telegram/{scene.bot.id}/7")
            assert 0 < purse.spent <= budget.limit
            assert purse.reserved == 0
            other = scene.api.private(8)
            other.say("Hello")
            await other.until(ended)

    run(program)


# ---------------------------------------------------------------- sound


def test_a_voice_message_is_written_down() -> None:
    engine = ScriptedEngine(models=[scripted_model("ear", kind=Kind.TRANSCRIPTION)])

    async def program() -> None:
        async with open_scene(engine) as scene:
            chat = scene.api.private(7)
            chat.send_voice(b"OggS of some kind")

            (text,) = await chat.until(ended)

            assert text.startswith(HELLO)
            assert engine.requests[0].audio is not None
            assert engine.requests[0].audio.data == b"OggS of some kind"

    run(program)


def test_a_voice_message_is_refused_where_nobody_writes_down_speech() -> None:
    async def program() -> None:
        async with open_scene() as scene:
            chat = scene.api.private(7)
            chat.send_voice(b"OggS of some kind")

            await chat.until(
                lambda chat: chat.texts == ["Nobody offers a model now that writes down speech."]
            )
            assert not scene.api.called("getFile")

    run(program)


def test_a_recording_that_is_too_large_is_not_fetched() -> None:
    engine = ScriptedEngine(models=[scripted_model("ear", kind=Kind.TRANSCRIPTION)])

    async def program() -> None:
        async with open_scene(engine, settings=KitSettings(sound_max_bytes=10)) as scene:
            chat = scene.api.private(7)
            chat.send_voice(b"eleven byte")

            await chat.until(lambda chat: chat.texts == ["This recording is too large."])
            assert not scene.api.called("getFile")

    run(program)


# ---------------------------------------------------------------- inline, several bots, the end


def test_an_inline_question_becomes_its_answer_once_it_was_sent() -> None:
    engine = ScriptedEngine(delay_seconds=0)

    async def program() -> None:
        async with open_scene(engine) as scene:
            group = scene.api.group(scene.api.user(7), scene.api.user(8, "Bob"))
            query = group.inline("what is it?", by=scene.api.user(8))
            results = (await query.answered())["results"]
            assert not engine.requests
            (result,) = results if isinstance(results, list) else ()

            message = group.choose(query, str(result["id"]))

            assert message.text == "what is it?"
            await group.until(lambda group: group.messages[-1].text.endswith(WARNED))
            assert group.messages[-1].text.startswith(f"what is it?\n\n{HELLO}")
            assert not _buttons(group)
            assert (await scene.client.purses.look(f"telegram/{scene.bot.id}/8")).total > 0

    run(program)


def test_an_inline_question_in_the_bot_s_own_chat_is_paid_for_once() -> None:
    engine = ScriptedEngine(delay_seconds=0)

    async def program() -> None:
        async with open_scene(engine) as scene:
            chat = scene.api.private(7)
            query = chat.inline("what is it?")
            results = (await query.answered())["results"]
            (result,) = results if isinstance(results, list) else ()
            chat.choose(query, str(result["id"]))
            await chat.until(lambda chat: chat.messages[-1].text.endswith(WARNED))

            chat.say("Hello")

            await chat.until(lambda chat: chat.messages[-1].text.startswith(HELLO) and ended(chat))
            assert [_said(request) for request in engine.requests] == [["what is it?"], ["Hello"]]

    run(program)


def test_an_inline_answer_says_what_it_cost_however_much_of_it_comes_at_once() -> None:
    engine = ScriptedEngine(("word " * 2_000,), delay_seconds=0)

    async def program() -> None:
        async with open_scene(engine) as scene:
            group = scene.api.group(scene.api.user(7))
            query = group.inline("what is it?")
            results = (await query.answered())["results"]
            (result,) = results if isinstance(results, list) else ()
            group.choose(query, str(result["id"]))

            await group.until(lambda group: "word" in group.messages[-1].text and not _buttons(group))

            assert "the rest was not bought" in group.messages[-1].text
            assert group.messages[-1].text.endswith(WARNED)

    run(program)


def test_two_bots_of_one_program_are_told_apart() -> None:
    async def program() -> None:
        async with open_scene() as scene:
            second = scene.api.add_bot("77:another-token-of-nobodys", "second_bot")
            bot = make_bot(scene.api, second.token)
            dispatcher = make_dispatcher(scene.kit)
            polling = asyncio.create_task(dispatcher.start_polling(bot, handle_signals=False))
            one, two = scene.api.private(7), scene.api.private(7, bot=second)
            one.say("Hello")
            two.say("Hello")

            await one.until(ended)
            await two.until(ended)

            for bot_id in (scene.bot.id, second.id):
                assert (await scene.client.purses.look(f"telegram/{bot_id}/7")).total > 0
            await dispatcher.stop_polling()
            await polling

    run(program)


def test_what_was_paid_for_is_delivered_when_the_bot_is_shut_down() -> None:
    engine = endless()

    async def program() -> None:
        async with open_scene(engine, settings=LONG) as scene:
            chat = scene.api.private(7)
            chat.say("Hello")
            await chat.until(drafts)

        (text,) = ended(chat)
        assert text.startswith("word word")
        assert "the bot is being restarted" in text
        assert engine.running == 0

    run(program)


def test_what_is_asked_while_the_bot_is_shut_down_ends_too() -> None:
    engine = endless()

    async def program() -> None:
        async with open_scene(engine, settings=LONG) as scene:
            chat = scene.api.private(7)
            held = scene.api.faults.hold("sendMessage", chat_id=7)
            chat.say("Hello")
            await chat.until(drafts)
            leaving = asyncio.create_task(scene.kit.leave())
            await held.reached.wait()
            scene.api.private(8).say("Hello")
            await _until_waiting(scene, 8, 1)

            held.release()

            await leaving
            assert not scene.kit.runs.all

    run(program)


def _said(request: GenerateRequest) -> list[str]:
    return [message.content for message in request.messages]


def _buttons(chat: Chat) -> list[object]:
    return [button for message in chat.messages if message.keyboard for button in message.keyboard.buttons]


async def _until_waiting(scene: Scene, chat_id: int, count: int) -> None:
    """Wait until so many of a chat's questions are not over."""
    while len(runs := scene.kit.runs.of(scene.bot.id, chat_id)) != count:
        # What is over says so; what is still to come comes by way of the loop.
        await (runs[0].wait() if len(runs) > count else asyncio.sleep(0.001))
