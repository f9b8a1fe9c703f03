"""Which messages are meant for a bot, and who wrote them. Pure.

In a private chat all are; in a group those that mention the bot or reply to it. What bots write is meant
for nobody: two of them would never end.
"""

from aiogram.enums import ChatType
from aiogram.types import Audio, Message, User, Voice

from cocoon_p2p.telegram.surface import Spot
from cocoon_p2p.telegram.talk import Place


def addressed(message: Message, me: User) -> str | None:
    """Say what a message asks of a bot: its text or caption, without the mention; None: it is not for it."""
    if asker(message) is None or message.is_automatic_forward:
        return None
    # It came by way of the bot itself: an inline question, which is answered where it stands.
    if message.via_bot is not None and message.via_bot.id == me.id:
        return None
    text = message.text or message.caption or ""
    if is_private(message):
        return text
    rest = _without_mention(text, message, me)
    if rest is not None:
        return rest
    above = message.reply_to_message
    is_reply = above is not None and above.from_user is not None and above.from_user.id == me.id
    return text if is_reply else None


def asker(message: Message) -> int | None:
    """Say who wrote a message: a person, or the chat in whose name they did; None: a bot, or nobody."""
    if message.sender_chat is not None:
        return message.sender_chat.id
    person = message.from_user
    return None if person is None or person.is_bot else person.id


def is_private(message: Message) -> bool:
    return message.chat.type == ChatType.PRIVATE


def sound(message: Message) -> Voice | Audio | None:
    """Give what was recorded."""
    return message.voice or message.audio


def spot(message: Message) -> Spot:
    """Say where a message is to be answered."""
    private = is_private(message)
    return Spot(
        chat_id=message.chat.id,
        is_private=private,
        thread_id=_topic(message),
        reply_to=None if private else message.message_id,
    )


def place(message: Message, bot_id: int) -> Place:
    """Say to which talk a message belongs."""
    return Place(bot_id, message.chat.id, _topic(message) or 0)


def _topic(message: Message) -> int | None:
    # Outside of topics the number of a thread is that of a message which was replied to.
    return message.message_thread_id if message.is_topic_message else None


def _without_mention(text: str, message: Message, me: User) -> str | None:
    """Give a text without the first mention of a bot in it; None where there is none."""
    name = f"@{me.username}".casefold()
    for entity in message.entities or message.caption_entities or ():
        named = entity.extract_from(text)
        is_me = entity.type == "mention" and named.casefold() == name
        if is_me or (entity.type == "text_mention" and entity.user is not None and entity.user.id == me.id):
            # Offsets are UTF-16 units.
            units, end = text.encode("utf-16-le"), entity.offset + entity.length
            before, after = (
                units[: 2 * entity.offset].decode("utf-16-le"),
                units[2 * end :].decode("utf-16-le"),
            )
            return f"{before.rstrip()} {after.lstrip()}".strip()
    return None
