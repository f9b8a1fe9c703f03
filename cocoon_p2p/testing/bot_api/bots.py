"""A bot's account: its token, what waits for it, what it asked and was asked."""

import asyncio
from dataclasses import dataclass, field

from cocoon_p2p.testing.bot_api.answers import QUERY_TOO_OLD, bad_request
from cocoon_p2p.testing.bot_api.board import Board
from cocoon_p2p.testing.bot_api.flood import FloodControl, FloodLimits
from cocoon_p2p.testing.bot_api.messages import Json, Message, User
from cocoon_p2p.testing.bot_api.updates import Updates

QUERY_SECONDS = 15.0
"How long a press of a button, or an inline query, may go without an answer."


class Question:
    """Something that a person's app waits for the bot to answer: a press, an inline query, a Mini App."""

    def __init__(
        self, question_id: str, kind: str, asked_by: User, asked_at: float, text: str, place: Board | None
    ) -> None:
        self.id = question_id
        self.kind = kind
        self.asked_by = asked_by
        self.asked_at = asked_at
        self.text = text
        self.place = place
        self._answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()

    @property
    def answer(self) -> Json | None:
        """What the bot answered, with the fields of its call; None so far."""
        return self._answer.result() if self._answer.done() else None

    async def answered(self, *, seconds: float = 60.0) -> Json:
        """Wait for the answer.

        Raises:
            TimeoutError: There was none in so many seconds.
        """
        async with asyncio.timeout(seconds):
            return await asyncio.shield(self._answer)

    def settle(self, answer: Json) -> None:
        """Give the answer, once."""
        self._answer.set_result(answer)


@dataclass(eq=False)
class Bot:
    """One bot of the fake's.

    Attributes:
        privacy: Whether it sees of a group only what is meant for it, as new bots do.
    """

    token: str
    user: User
    limits: FloodLimits
    privacy: bool = True
    commands: list[object] = field(default_factory=list[object])

    def __post_init__(self) -> None:
        self.updates = Updates()
        self.flood = FloodControl(self.limits)
        self._questions: dict[str, Question] = {}
        self.inline_messages: dict[str, tuple[int, int]] = {}
        "By its id: the chat and the number of a message that came by way of the bot."

    @property
    def id(self) -> int:
        """The number in front of the token."""
        return self.user.id

    def ask(
        self, kind: str, asked_by: User, now: float, *, text: str = "", place: Board | None = None
    ) -> Question:
        """Note that somebody waits for this bot."""
        number = len(self._questions) + 1
        question = Question(f"{self.id}{number:07d}", kind, asked_by, now, text, place)
        self._questions[question.id] = question
        return question

    def asked(self, question: Question) -> bool:
        """Tell whether it was this bot that was asked."""
        return self._questions.get(question.id) is question

    def answer(self, question_id: str, kind: str, answer: Json, now: float) -> Question:
        """Take the bot's answer.

        Raises:
            Rejected: Nobody asked that, or it is answered already, or was asked too long ago.
        """
        question = self._questions.get(question_id)
        if question is None or question.kind != kind or question.answer is not None:
            raise bad_request(QUERY_TOO_OLD)
        if kind != "web_app" and now > question.asked_at + QUERY_SECONDS:
            raise bad_request(QUERY_TOO_OLD)
        question.settle(answer)
        return question

    def sees(self, message: Message) -> bool:
        """Tell whether a message of a group's reaches it (core.telegram.org/bots/features#privacy-mode)."""
        if not self.privacy or message.chat["type"] == "private":
            return True
        name = f"@{self.user.username}".lower()
        command, _, _ = message.text.partition(" ")
        for_me = command.startswith("/") and ("@" not in command or command.lower().endswith(name))
        replied = message.reply_to is not None and message.reply_to.sender.id == self.id
        return for_me or replied or name in message.text.lower() or message.via_bot == self.user
