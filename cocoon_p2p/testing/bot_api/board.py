"""What a chat shows: the messages that stand, the drafts that grow, and how it came to that."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from cocoon_p2p.testing.bot_api.answers import NOT_MODIFIED, bad_request, not_found
from cocoon_p2p.testing.bot_api.changes import Changes
from cocoon_p2p.testing.bot_api.entities import Marked
from cocoon_p2p.testing.bot_api.messages import Button, Draft, Json, Keyboard, Media, Message, User

Found = TypeVar("Found")
Clock = Callable[[], float]

DRAFT_SECONDS = 30.0
"How long a draft stands that nothing follows (sendMessageDraft: a temporary 30-second preview)."


@dataclass(frozen=True, slots=True)
class Sight:
    """One thing that could be seen in the chat, when it came."""

    kind: str
    "sent, edited, deleted, draft, action"

    at: float
    message: Message | None = None
    draft: Draft | None = None
    action: str = ""


class Board:
    """A chat as the people in it see it.

    Args:
        chat: The chat as the Bot API writes it (`id`, `type`, names).
        clock: Tells the time, in seconds since the Unix epoch.
    """

    def __init__(self, chat: Json, clock: Clock) -> None:
        self.chat = chat
        self.history: list[Sight] = []
        self._clock = clock
        self._messages: dict[int, Message] = {}
        self._drafts: dict[tuple[int, int], Draft] = {}
        self._last_id = 0
        self._changes = Changes()

    @property
    def id(self) -> int:
        """The chat's number, as bots name it."""
        number = self.chat["id"]
        assert isinstance(number, int)
        return number

    @property
    def messages(self) -> tuple[Message, ...]:
        """What stands now, in the order in which it came."""
        return tuple(self._messages.values())

    @property
    def from_bots(self) -> tuple[Message, ...]:
        """Those of them that a bot sent."""
        return tuple(message for message in self.messages if message.sender.is_bot)

    @property
    def texts(self) -> list[str]:
        """What the bots' messages say now."""
        return [message.text for message in self.from_bots]

    @property
    def drafts(self) -> tuple[Draft, ...]:
        """The drafts that are shown now."""
        now = self._clock()
        return tuple(draft for draft in self._drafts.values() if now < draft.shown_at + DRAFT_SECONDS)

    @property
    def actions(self) -> list[str]:
        """What the bots were seen doing, so far: `typing`."""
        return [sight.action for sight in self.history if sight.kind == "action"]

    def button(self, text: str) -> tuple[Message, Button]:
        """Find the newest button whose text has `text` in it.

        Raises:
            LookupError: There is none.
        """
        for message in reversed(self.messages):
            for button in message.keyboard.buttons if message.keyboard else ():
                if text in button.text:
                    return message, button
        raise LookupError(f"no button (text={text!r})")

    async def until(self, look: Callable[["Board"], Found], *, seconds: float = 60.0) -> Found:
        """Wait until `look` finds something true in this chat, and give that.

        Raises:
            TimeoutError: It found nothing in so many seconds; the message says what the chat shows.
        """
        try:
            return await self._changes.until(lambda: look(self), seconds=seconds)
        except TimeoutError:
            raise TimeoutError(f"not seen in the chat (texts={self.texts})") from None

    def find(self, message_id: int, what: str) -> Message:
        """Give a message that stands.

        Raises:
            Rejected: There is none: `message to edit not found`.
        """
        if message_id not in self._messages:
            raise not_found(what)
        return self._messages[message_id]

    def post(
        self,
        sender: User,
        content: Marked,
        *,
        media: Media | None = None,
        keyboard: Keyboard | None = None,
        thread_id: int = 0,
        reply_to: Message | None = None,
        quote: str = "",
        via_bot: User | None = None,
        inline_message_id: str = "",
        web_app_data: tuple[str, str] | None = None,
    ) -> Message:
        """Put a message at the end. One of a bot's takes the place of its drafts."""
        self._last_id += 1
        message = Message(
            self._last_id,
            self.chat,
            sender,
            int(self._clock()),
            content,
            media=media,
            keyboard=keyboard,
            thread_id=thread_id,
            reply_to=reply_to and replace(reply_to, reply_to=None),
            quote=quote,
            via_bot=via_bot,
            inline_message_id=inline_message_id,
            web_app_data=web_app_data,
        )
        if sender.is_bot:
            self._drafts = {at: draft for at, draft in self._drafts.items() if at[0] != thread_id}
        self._messages[message.message_id] = message
        self._saw(Sight("sent", self._clock(), message))
        return message

    def edit(self, message: Message, content: Marked, keyboard: Keyboard | None) -> Message:
        """Change what a message says and its buttons.

        Raises:
            Rejected: It says that already.
        """
        if (message.content, message.keyboard) == (content, keyboard):
            raise bad_request(NOT_MODIFIED)
        edited = replace(message, content=content, keyboard=keyboard, edit_date=int(self._clock()))
        self._messages[message.message_id] = edited
        self._saw(Sight("edited", self._clock(), edited))
        return edited

    def remove(self, message: Message) -> None:
        """Take a message away for everybody."""
        del self._messages[message.message_id]
        self._saw(Sight("deleted", self._clock(), message))

    def draft(self, draft: Draft) -> None:
        """Show a draft, in place of the one with its number."""
        self._drafts[draft.thread_id, draft.draft_id] = draft
        self._saw(Sight("draft", self._clock(), draft=draft))

    def undraft(self, draft: Draft) -> None:
        """Take a draft away."""
        self._drafts.pop((draft.thread_id, draft.draft_id), None)
        self._changes.tell()

    def act(self, action: str) -> None:
        """Show that a bot does something: `typing`."""
        self._saw(Sight("action", self._clock(), action=action))

    def _saw(self, sight: Sight) -> None:
        self.history.append(sight)
        self._changes.tell()
