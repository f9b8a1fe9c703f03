"""Methods that change or remove what stands in a chat."""

from cocoon_p2p.testing.bot_api.answers import (
    CANNOT_DELETE,
    CANNOT_EDIT,
    TOO_LONG_EDIT,
    bad_request,
    too_many_requests,
)
from cocoon_p2p.testing.bot_api.arguments import Arguments
from cocoon_p2p.testing.bot_api.bots import Bot
from cocoon_p2p.testing.bot_api.chats import Chat
from cocoon_p2p.testing.bot_api.entities import TEXT_LIMIT, Marked, utf16_length
from cocoon_p2p.testing.bot_api.messages import Keyboard, Message
from cocoon_p2p.testing.bot_api.sending import read_caption, read_text, reply_markup
from cocoon_p2p.testing.bot_api.world import World

DELETE_SECONDS_MAX = 48 * 60 * 60
"How long a bot may take its own messages back (deleteMessage)."


def edit_message_text(world: World, bot: Bot, arguments: Arguments) -> object:
    """Change a text. The buttons go, unless they are given again."""
    marked = read_text(arguments)
    chat, message = _message(world, bot, arguments)
    keyboard = _inline_keyboard(arguments, chat)
    _count(world, bot, chat)
    if utf16_length(marked.text) > TEXT_LIMIT:
        raise bad_request(TOO_LONG_EDIT)
    if message.media is not None:
        raise bad_request("there is no text in the message to edit")
    return _edited(chat, message, marked, keyboard, arguments)


def edit_message_caption(world: World, bot: Bot, arguments: Arguments) -> object:
    """Change what stands under a file."""
    marked = read_caption(arguments)
    chat, message = _message(world, bot, arguments)
    keyboard = _inline_keyboard(arguments, chat)
    _count(world, bot, chat)
    if message.media is None:
        raise bad_request("there is no caption in the message to edit")
    return _edited(chat, message, marked, keyboard, arguments)


def edit_message_reply_markup(world: World, bot: Bot, arguments: Arguments) -> object:
    """Change the buttons alone."""
    chat, message = _message(world, bot, arguments)
    keyboard = _inline_keyboard(arguments, chat)
    _count(world, bot, chat)
    return _edited(chat, message, message.content, keyboard, arguments)


def delete_message(world: World, bot: Bot, arguments: Arguments) -> object:
    """Take a message away: the bot's own of the last two days; in private also the person's."""
    chat = world.find_chat(bot, arguments)
    message = chat.find(arguments.integer("message_id"), "message to delete")
    if world.clock() > message.date + DELETE_SECONDS_MAX:
        raise bad_request(CANNOT_DELETE)
    if message.sender != bot.user and not chat.private:
        raise bad_request(CANNOT_DELETE)
    chat.remove(message)
    return True


def _message(world: World, bot: Bot, arguments: Arguments) -> tuple[Chat, Message]:
    if inline_message_id := arguments.text("inline_message_id"):
        return world.inline_message(bot, inline_message_id)
    chat = world.find_chat(bot, arguments)
    message = chat.find(arguments.integer("message_id"), "message to edit")
    if message.sender != bot.user:
        raise bad_request(CANNOT_EDIT)
    return chat, message


def _inline_keyboard(arguments: Arguments, chat: Chat) -> Keyboard | None:
    keyboard = reply_markup(arguments, chat)
    if keyboard is not None and not keyboard.inline:
        raise bad_request("inline keyboard expected")
    return keyboard


def _count(world: World, bot: Bot, chat: Chat) -> None:
    if wait := bot.flood.edit(chat.id, world.clock()):
        raise too_many_requests(wait)


def _edited(
    chat: Chat, message: Message, content: Marked, keyboard: Keyboard | None, arguments: Arguments
) -> object:
    edited = chat.edit(message, content, keyboard)
    return True if arguments.text("inline_message_id") else edited.as_json()
