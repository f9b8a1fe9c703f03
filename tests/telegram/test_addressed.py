"""Which messages are meant for a bot, and who asked."""

import datetime
from typing import Any

import pytest
from aiogram.types import Chat, Message, MessageEntity, User

from cocoon_p2p.telegram.addressed import addressed, asker, place, spot

ME = User(id=42, is_bot=True, first_name="Fake", username="fake_bot")
OTHER = User(id=43, is_bot=True, first_name="Gif", username="gif")
ADA = User(id=7, is_bot=False, first_name="Ada")
GROUP = Chat(id=-100, type="supergroup")


def message(text: str = "", **more: Any) -> Message:
    facts: dict[str, Any] = {"chat": GROUP, "from_user": ADA, "text": text or None, **more}
    return Message(message_id=5, date=datetime.datetime.now(datetime.UTC), **facts)


def mentioned(text: str, name: str, kind: str = "mention", user: User | None = None) -> Message:
    # Offsets are UTF-16 units, of which the emoji has two.
    offset = len(text[: text.index(name)].encode("utf-16-le")) // 2
    return message(text, entities=[MessageEntity(type=kind, offset=offset, length=len(name), user=user)])


@pytest.mark.parametrize(
    ("asked", "question"),
    [
        (message("hi", chat=Chat(id=7, type="private")), "hi"),
        (message("hi"), None),
        (mentioned("@fake_bot hi", "@fake_bot"), "hi"),
        (mentioned("\U0001f600 hi @FAKE_bot, you", "@FAKE_bot"), "\U0001f600 hi , you"),
        (mentioned("@fake_bottle hi", "@fake_bottle"), None),
        (mentioned("Fake hi", "Fake", "text_mention", ME), "hi"),
        (mentioned("banana \U0001f600 n?", " n", "text_mention", ME), "banana \U0001f600 ?"),
        (mentioned("Ada hi", "Ada", "text_mention", ADA), None),
        (message("@fake_bot not an entity"), None),
        (message("hi", reply_to_message=message("above", from_user=ME)), "hi"),
        (message("hi", reply_to_message=message("above")), None),
        (message("hi", from_user=ME, chat=Chat(id=7, type="private")), None),
        (message("hi", via_bot=ME, chat=Chat(id=7, type="private")), None),
        (mentioned("@fake_bot hi", "@fake_bot").model_copy(update={"via_bot": ME}), None),
        (message("hi", via_bot=OTHER, chat=Chat(id=7, type="private")), "hi"),
        (message("hi", is_automatic_forward=True, chat=Chat(id=7, type="private")), None),
    ],
)
def test_a_message_is_meant_for_the_bot_or_not(asked: Message, question: str | None) -> None:
    assert addressed(asked, ME) == question


def test_who_writes_in_a_group_s_name_is_the_group() -> None:
    assert asker(message("hi", sender_chat=GROUP, from_user=ME)) == GROUP.id
    assert asker(message("hi")) == ADA.id
    assert asker(message("hi", from_user=None)) is None


def test_only_a_topic_s_thread_is_answered_in_as_one() -> None:
    topic = message("hi", message_thread_id=9, is_topic_message=True)
    reply = message("hi", message_thread_id=9)

    assert (spot(topic).thread_id, place(topic, 42).thread_id) == (9, 9)
    assert (spot(reply).thread_id, place(reply, 42).thread_id) == (None, 0)
