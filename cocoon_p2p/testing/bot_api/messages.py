"""What stands in a chat: messages, their keyboards and their files, as frozen values."""

from dataclasses import dataclass
from typing import cast

from cocoon_p2p.testing.bot_api.answers import bad_request
from cocoon_p2p.testing.bot_api.entities import NOTHING, Marked

CALLBACK_DATA_MAX = 64
"Bytes that a button may carry back (InlineKeyboardButton.callback_data)."

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class User:
    """Who writes: a person or a bot."""

    id: int
    first_name: str
    username: str = ""
    language: str = "en"
    is_bot: bool = False

    def as_json(self) -> Json:
        """Write them as the Bot API does."""
        shown: Json = {"id": self.id, "is_bot": self.is_bot, "first_name": self.first_name}
        if self.username:
            shown["username"] = self.username
        return shown if self.is_bot else shown | {"language_code": self.language}


@dataclass(frozen=True, slots=True)
class Media:
    """A file in a message: which kind of thing it is, and what the server says of it."""

    kind: str
    "photo, voice, audio, document, video"

    file_id: str
    unique_id: str
    size_bytes: int
    seconds: int = 0
    mime: str = ""
    name: str = ""

    def as_json(self) -> Json | list[Json]:
        """Write it as the Bot API does; a photo is a list of its sizes."""
        shown: Json = {
            "file_id": self.file_id,
            "file_unique_id": self.unique_id,
            "file_size": self.size_bytes,
        }
        if self.kind == "photo":
            return [shown | {"width": 320, "height": 240}]
        if self.kind in ("voice", "audio", "video"):
            shown["duration"] = self.seconds
        if self.kind == "video":
            shown |= {"width": 320, "height": 240}
        return (
            shown
            | ({"mime_type": self.mime} if self.mime else {})
            | ({"file_name": self.name} if self.name else {})
        )


@dataclass(frozen=True, slots=True)
class Button:
    """One button, of a message or beside the keyboard."""

    text: str
    raw: tuple[tuple[str, object], ...]
    "Its other fields, as the bot wrote them."

    def get(self, name: str) -> object:
        """Give a field: `callback_data`, `url`, `web_app`."""
        return dict(self.raw).get(name)


@dataclass(frozen=True, slots=True)
class Keyboard:
    """Buttons in rows: under a message (inline), or in place of the keyboard."""

    rows: tuple[tuple[Button, ...], ...] = ()
    inline: bool = True

    @property
    def buttons(self) -> tuple[Button, ...]:
        """All of them, row by row."""
        return tuple(button for row in self.rows for button in row)

    def as_json(self) -> Json:
        """Write an inline keyboard as the Bot API does."""
        return {
            "inline_keyboard": [
                [{"text": button.text, **dict(button.raw)} for button in row] for row in self.rows
            ]
        }


def read_keyboard(markup: Json, *, private: bool) -> Keyboard | None:
    """Judge a reply markup; one without buttons is none.

    Raises:
        Rejected: It is not one, or carries what the chat does not allow.
    """
    inline = "inline_keyboard" in markup
    rows = markup.get("inline_keyboard", markup.get("keyboard"))
    if rows is None:
        return None  # ForceReply, ReplyKeyboardRemove
    field = "inline_keyboard" if inline else "keyboard"
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in cast("list[object]", rows)):
        raise bad_request(f'field "{field}" must be an Array of Arrays')
    read = tuple(
        tuple(_read_button(button, inline=inline, private=private) for button in row)
        for row in cast("list[list[object]]", rows)
    )
    return Keyboard(tuple(row for row in read if row), inline) if any(read) else None


def _read_button(button: object, *, inline: bool, private: bool) -> Button:
    if isinstance(button, str) and not inline:
        return Button(button, ())
    if not isinstance(button, dict):
        raise bad_request("can't parse inline keyboard button: InlineKeyboardButton must be an Object")
    fields = dict(cast("Json", button))
    text = str(fields.pop("text", ""))
    if inline and not any(value is not None for value in fields.values()):
        raise bad_request(
            "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard"
        )
    data = fields.get("callback_data")
    if isinstance(data, str) and not 1 <= len(data.encode()) <= CALLBACK_DATA_MAX:
        raise bad_request("BUTTON_DATA_INVALID")
    if "web_app" in fields and not private:
        raise bad_request("BUTTON_TYPE_INVALID")
    return Button(text, tuple(sorted((name, value) for name, value in fields.items() if value is not None)))


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it stands now."""

    message_id: int
    chat: Json
    "The chat, as the Bot API writes it."

    sender: User
    date: int
    content: Marked = NOTHING
    media: Media | None = None
    keyboard: Keyboard | None = None
    thread_id: int = 0
    reply_to: "Message | None" = None
    "As it stood then, without what it replied to itself."

    quote: str = ""
    edit_date: int = 0
    via_bot: User | None = None
    inline_message_id: str = ""
    web_app_data: tuple[str, str] | None = None
    "The button's text and what the Mini App sent with it."

    @property
    def text(self) -> str:
        """What it says: its text, or the caption of its file."""
        return self.content.text

    def as_json(self) -> Json:
        """Write it as the Bot API does."""
        shown: Json = {
            "message_id": self.message_id,
            "from": self.sender.as_json(),
            "chat": self.chat,
            "date": self.date,
        }
        if self.media is not None:
            shown[self.media.kind] = self.media.as_json()
        text, entities = ("caption", "caption_entities") if self.media else ("text", "entities")
        if self.content.text:
            shown[text] = self.content.text
        if self.content.entities:
            shown[entities] = [entity.as_json() for entity in self.content.entities]
        if self.keyboard is not None and self.keyboard.inline:
            shown["reply_markup"] = self.keyboard.as_json()
        return shown | self._links()

    def _links(self) -> Json:
        shown: Json = {}
        if self.thread_id:
            shown |= {"message_thread_id": self.thread_id, "is_topic_message": True}
        if self.reply_to is not None:
            shown["reply_to_message"] = self.reply_to.as_json()
        if self.quote:
            shown["quote"] = {"text": self.quote, "position": 0, "is_manual": True}
        if self.edit_date:
            shown["edit_date"] = self.edit_date
        if self.via_bot is not None:
            shown["via_bot"] = self.via_bot.as_json()
        if self.web_app_data is not None:
            shown["web_app_data"] = {"button_text": self.web_app_data[0], "data": self.web_app_data[1]}
        return shown


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is being written, as the person sees it grow."""

    draft_id: int
    content: Marked
    shown_at: float
    thread_id: int = 0
    can_stop: bool = False
    keep_on_stop: bool = False
