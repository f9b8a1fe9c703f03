"""Methods that put something into a chat: messages, files, drafts, what the bot is doing."""

from cocoon_p2p.testing.bot_api.answers import (
    CAPTION_TOO_LONG,
    DRAFT_PEER,
    EMPTY_AFTER_PARSING,
    EMPTY_TEXT,
    THREAD_NOT_FOUND,
    TOO_LONG,
    bad_request,
    too_many_requests,
)
from cocoon_p2p.testing.bot_api.arguments import Arguments, Upload
from cocoon_p2p.testing.bot_api.bots import Bot
from cocoon_p2p.testing.bot_api.chats import Chat
from cocoon_p2p.testing.bot_api.entities import CAPTION_LIMIT, TEXT_LIMIT, Marked, utf16_length
from cocoon_p2p.testing.bot_api.markup import read_markup
from cocoon_p2p.testing.bot_api.messages import Draft, Json, Keyboard, Media, Message, read_keyboard
from cocoon_p2p.testing.bot_api.world import World

_ACTIONS = frozenset(
    {"typing", "upload_photo", "upload_video", "upload_voice", "upload_audio", "upload_document", "cancel"}
    | {"record_video", "record_voice", "record_audio", "record_video_note", "upload_video_note"}
    | {"choose_sticker", "find_location"}
)


def read_text(arguments: Arguments) -> Marked:
    """Read the text of a message.

    Raises:
        Rejected: There is none, or its markup is broken.
    """
    text = arguments.text("text")
    if not text:
        raise bad_request(EMPTY_TEXT)
    entities = arguments.value("entities", "can't parse entities JSON object")
    marked = read_markup(text, arguments.text("parse_mode"), entities)
    if not marked.text:
        raise bad_request(EMPTY_AFTER_PARSING)
    return marked


def read_caption(arguments: Arguments) -> Marked:
    """Read what stands under a file.

    Raises:
        Rejected: Its markup is broken, or it is too long.
    """
    entities = arguments.value("caption_entities", "can't parse entities JSON object")
    marked = read_markup(arguments.text("caption"), arguments.text("parse_mode"), entities)
    if utf16_length(marked.text) > CAPTION_LIMIT:
        raise bad_request(CAPTION_TOO_LONG)
    return marked


def reply_markup(arguments: Arguments, chat: Chat) -> Keyboard | None:
    """Read the buttons of a message.

    Raises:
        Rejected: They are none that may stand in this chat.
    """
    return read_keyboard(
        arguments.fields("reply_markup", "object expected as reply markup"), private=chat.private
    )


def send_message(world: World, bot: Bot, arguments: Arguments) -> object:
    """Send a text."""
    marked = read_text(arguments)
    chat = world.find_chat(bot, arguments)
    keyboard = reply_markup(arguments, chat)
    place = _place(chat, arguments)
    _count(world, bot, chat)
    if utf16_length(marked.text) > TEXT_LIMIT:
        raise bad_request(TOO_LONG)
    return _posted(chat, bot, marked, place, keyboard=keyboard)


class SendFile:
    """The method that sends one kind of file (sendVoice, sendPhoto), or one again that the server has."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __call__(self, world: World, bot: Bot, arguments: Arguments) -> object:
        """Send it."""
        caption = read_caption(arguments)
        media = self._media(world, bot, arguments)
        chat = world.find_chat(bot, arguments)
        keyboard = reply_markup(arguments, chat)
        place = _place(chat, arguments)
        _count(world, bot, chat)
        return _posted(chat, bot, caption, place, keyboard=keyboard, media=media)

    def _media(self, world: World, bot: Bot, arguments: Arguments) -> Media:
        match arguments.file(self._kind):
            case Upload(name, content):
                seconds = arguments.integer("duration")
                return world.files.put(bot.id, self._kind, content, seconds=seconds, name=name)
            case "":
                raise bad_request(f"there is no {self._kind} in the request")
            case file_id:
                return world.files.media(bot.id, file_id)


def send_message_draft(world: World, bot: Bot, arguments: Arguments) -> object:
    """Show a message that is being written, to one person."""
    text = arguments.text("text")
    entities = arguments.value("entities", "can't parse entities JSON object")
    marked = read_markup(text, arguments.text("parse_mode"), entities)
    chat = world.find_chat(bot, arguments)
    if not chat.private:
        raise bad_request(DRAFT_PEER)
    draft_id = arguments.integer("draft_id")
    if draft_id == 0:
        raise bad_request("RANDOM_ID_INVALID")
    if wait := bot.flood.draft(chat.id, world.clock()):
        raise too_many_requests(wait)
    if utf16_length(marked.text) > TEXT_LIMIT:
        raise bad_request("MESSAGE_TOO_LONG")
    can_stop, keep_on_stop = arguments.flag("can_stop"), arguments.flag("keep_on_stop")
    thread_id = _thread(chat, arguments)
    chat.draft(Draft(draft_id, marked, world.clock(), thread_id, can_stop, keep_on_stop))
    return True


def send_chat_action(world: World, bot: Bot, arguments: Arguments) -> object:
    """Show what the bot is doing, for five seconds."""
    action = arguments.text("action")
    if action not in _ACTIONS:
        raise bad_request("wrong parameter action in request")
    world.find_chat(bot, arguments).act(action)
    return True


def _thread(chat: Chat, arguments: Arguments) -> int:
    thread_id = arguments.integer("message_thread_id")
    if thread_id and thread_id not in chat.threads:
        raise bad_request(THREAD_NOT_FOUND)
    return thread_id


def _place(chat: Chat, arguments: Arguments) -> tuple[int, Message | None, str]:
    """Read where a message shall stand: its topic, what it replies to, and the words that it quotes."""
    thread_id = _thread(chat, arguments)
    reply = arguments.fields("reply_parameters", "object expected as reply parameters")
    number = reply.get("message_id", arguments.integer("reply_to_message_id"))
    message_id = int(number) if isinstance(number, int | str) and str(number).isdecimal() else 0
    if message_id == 0:
        return thread_id, None, ""
    above = next((message for message in chat.messages if message.message_id == message_id), None)
    lenient = reply.get("allow_sending_without_reply", False) is True or arguments.flag(
        "allow_sending_without_reply"
    )
    if above is None and not lenient:
        raise bad_request("message to be replied not found")
    quote = reply.get("quote", "")
    if above is not None and isinstance(quote, str) and quote not in above.text:
        raise bad_request("QUOTE_TEXT_INVALID")
    return thread_id or (above.thread_id if above else 0), above, str(quote)


def _count(world: World, bot: Bot, chat: Chat) -> None:
    if wait := bot.flood.send(chat.id, world.clock()):
        raise too_many_requests(wait)


def _posted(
    chat: Chat,
    bot: Bot,
    content: Marked,
    place: tuple[int, Message | None, str],
    *,
    keyboard: Keyboard | None,
    media: Media | None = None,
) -> Json:
    thread_id, above, quote = place
    message = chat.post(
        bot.user,
        content,
        keyboard=keyboard,
        media=media,
        thread_id=thread_id,
        reply_to=above,
        quote=quote,
    )
    return message.as_json()
