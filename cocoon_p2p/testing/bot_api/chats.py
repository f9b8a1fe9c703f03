"""What people do in a chat: they write, press, speak, look for a bot, open its Mini App, and block it."""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import quote as percent
from urllib.parse import urlencode

from cocoon_p2p.testing.bot_api.arguments import entries, fields
from cocoon_p2p.testing.bot_api.board import Board, Clock
from cocoon_p2p.testing.bot_api.bots import Bot, Question
from cocoon_p2p.testing.bot_api.entities import Entity, Marked, utf16_length
from cocoon_p2p.testing.bot_api.files import Files
from cocoon_p2p.testing.bot_api.inline import post_result
from cocoon_p2p.testing.bot_api.messages import Button, Draft, Json, Media, Message, User


@dataclass(frozen=True, slots=True)
class MiniApp:
    """A Mini App that a person opened."""

    url: str
    init_data: str
    "What the app hands to its backend to prove who opened it (core.telegram.org/bots/webapps)."

    question: Question
    "Answered by answerWebAppQuery."


class Chat(Board):
    """A chat with people and bots in it.

    Args:
        chat: The chat as the Bot API writes it.
        clock: Tells the time, in seconds since the Unix epoch.
        people: Who is in it. The first is who acts where a call does not say who.
        bots: The bots in it.
        files: Where files are kept.
    """

    def __init__(
        self, chat: Json, clock: Clock, people: Iterable[User], bots: Iterable[Bot], files: Files
    ) -> None:
        super().__init__(chat, clock)
        self.people = list(people)
        self.bots = list(bots)
        self.blocked: set[int] = set()
        "Bots that may no longer write here: blocked in private, put out of a group."
        self.threads: set[int] = set()
        self._files = files

    @property
    def private(self) -> bool:
        """Whether it is one person's chat with one bot."""
        return self.chat["type"] == "private"

    def say(
        self,
        text: str,
        *,
        by: User | None = None,
        reply_to: Message | None = None,
        quote: str = "",
        thread_id: int = 0,
    ) -> Message:
        """Write a message; commands and mentions in it are marked as such."""
        content = Marked(text, _marks(text))
        return self._tell(
            self.post(self._who(by), content, reply_to=reply_to, quote=quote, thread_id=thread_id)
        )

    def send_voice(self, content: bytes, *, seconds: int = 1, by: User | None = None) -> Message:
        """Speak into the phone: a voice message, OGG with Opus."""
        return self.send_file("voice", content, seconds=seconds, mime="audio/ogg", by=by)

    def send_file(
        self,
        kind: str,
        content: bytes,
        *,
        caption: str = "",
        seconds: int = 0,
        mime: str = "",
        name: str = "",
        by: User | None = None,
        thread_id: int = 0,
    ) -> Message:
        """Send a photo, audio, document or video. Each bot in the chat knows it by an id of its own."""
        sender = self._who(by)
        message = self.post(sender, Marked(caption), thread_id=thread_id)
        for bot in self.bots:
            media = self._files.put(bot.id, kind, content, seconds=seconds, mime=mime, name=name)
            message = self._messages[message.message_id] = replace(message, media=media)
            self._tell(message, only=bot)
        return message

    def content(self, media: Media) -> bytes:
        """Give the bytes of a file in a message."""
        return self._files.content(media.file_id)

    def edit_mine(self, message: Message, text: str) -> Message:
        """Change a message of one's own, which the bot hears of as `edited_message`."""
        edited = self.edit(message, Marked(text, _marks(text)), message.keyboard)
        for bot in self.bots:
            if bot.sees(edited):
                bot.updates.put("edited_message", edited.as_json())
        return edited

    def press(self, button: str | Button, *, by: User | None = None) -> Question:
        """Press an inline button by (a part of) its text; `await question.answered()` gives what came of it.

        Raises:
            LookupError: There is no such button to be seen.
        """
        message, found = self.button(button if isinstance(button, str) else button.text)
        data = found.get("callback_data")
        if not isinstance(data, str):
            raise LookupError(f"the button carries nothing back (text={found.text!r})")
        who = self._who(by)
        bot = next(bot for bot in self.bots if bot.user in (message.sender, message.via_bot))
        question = bot.ask("callback", who, self._clock())
        place: Json = (
            {"inline_message_id": message.inline_message_id}
            if message.inline_message_id
            else {"message": message.as_json()}
        )
        payload = {"id": question.id, "from": who.as_json(), "chat_instance": str(self.id), "data": data}
        bot.updates.put("callback_query", payload | place)
        return question

    def stop(self, draft: Draft) -> None:
        """Press the button that a draft has where `can_stop` was asked for."""
        if not draft.can_stop:
            raise LookupError(f"the draft cannot be stopped (draft={draft.draft_id})")
        if not draft.keep_on_stop:
            self.undraft(draft)
        payload: Json = {"chat": self.chat, "draft_id": draft.draft_id}
        if draft.thread_id:
            payload["message_thread_id"] = draft.thread_id
        for bot in self.bots:
            bot.updates.put("stopped_message_generation", payload)

    def inline(
        self, query: str, *, offset: str = "", by: User | None = None, bot: Bot | None = None
    ) -> Question:
        """Write `@bot query` into the line; the answer has the results."""
        bot, who = bot or self.bots[0], self._who(by)
        question = bot.ask("inline", who, self._clock(), text=query)
        payload: Json = {"id": question.id, "from": who.as_json(), "query": query, "offset": offset}
        bot.updates.put("inline_query", payload | {"chat_type": "sender" if self.private else "supergroup"})
        return question

    def choose(self, question: Question, result_id: str) -> Message:
        """Post one of the results that an inline query was answered with.

        Raises:
            LookupError: There is no such result.
        """
        results = map(fields, entries((question.answer or {}).get("results")))
        result = next((result for result in results if result.get("id") == result_id), None)
        if result is None:
            raise LookupError(f"no such result (id={result_id!r})")
        bot = next(bot for bot in self.bots if bot.asked(question))
        message = post_result(self, bot, question.asked_by, result)
        payload: Json = {"result_id": result_id, "from": question.asked_by.as_json(), "query": question.text}
        if message.inline_message_id:
            payload["inline_message_id"] = message.inline_message_id
        bot.updates.put("chosen_inline_result", payload)
        return self._tell(message)

    def open_web_app(self, url: str = "", *, by: User | None = None, bot: Bot | None = None) -> MiniApp:
        """Open the bot's Mini App, with proof of who did."""
        bot, who = bot or self.bots[0], self._who(by)
        question = bot.ask("web_app", who, self._clock(), place=self)
        fields = {
            "query_id": question.id,
            "user": json.dumps(who.as_json(), separators=(",", ":"), ensure_ascii=False),
            "auth_date": str(int(self._clock())),
        }
        return MiniApp(url, signed_init_data(bot.token, fields), question)

    def send_web_app_data(self, data: str, *, button: str = "App", by: User | None = None) -> Message:
        """Have a Mini App that a keyboard button opened send something (`Telegram.WebApp.sendData`)."""
        return self._tell(self.post(self._who(by), Marked(), web_app_data=(button, data)))

    def block(self, bot: Bot | None = None) -> None:
        """Block the bot, or put it out of the group."""
        bot = bot or self.bots[0]
        self.blocked.add(bot.id)
        self._tell_membership(bot, "member", "kicked")

    def unblock(self, bot: Bot | None = None) -> None:
        """Let it write again."""
        bot = bot or self.bots[0]
        self.blocked.discard(bot.id)
        self._tell_membership(bot, "kicked", "member")

    def open_topic(self) -> int:
        """Open a forum topic; gives its message_thread_id."""
        self._last_id += 1
        self.threads.add(self._last_id)
        self.chat["is_forum"] = True
        return self._last_id

    def _who(self, by: User | None) -> User:
        who = by or self.people[0]
        if who not in self.people:
            raise LookupError(f"nobody of that name is in the chat (user={who.id})")
        return who

    def _tell(self, message: Message, *, only: Bot | None = None) -> Message:
        for bot in self.bots if only is None else (only,):
            if bot.sees(message) and bot.id not in self.blocked:
                bot.updates.put("message", message.as_json())
        return message

    def _tell_membership(self, bot: Bot, before: str, after: str) -> None:
        def member(status: str) -> Json:
            shown: Json = {"user": bot.user.as_json(), "status": status}
            return shown | {"until_date": 0} if status == "kicked" else shown

        bot.updates.put(
            "my_chat_member",
            {
                "chat": self.chat,
                "from": self.people[0].as_json(),
                "date": int(self._clock()),
                "old_chat_member": member(before),
                "new_chat_member": member(after),
            },
        )


def signed_init_data(token: str, fields: dict[str, str]) -> str:
    """Sign what a Mini App is opened with (core.telegram.org/bots/webapps, "Validating data received")."""
    secret = hmac.digest(b"WebAppData", token.encode(), hashlib.sha256)
    checked = "\n".join(f"{name}={fields[name]}" for name in sorted(fields))
    digest = hmac.digest(secret, checked.encode(), hashlib.sha256).hex()
    return urlencode(fields | {"hash": digest}, quote_via=percent)


def _marks(text: str) -> tuple[Entity, ...]:
    """Mark what the server finds by itself: a command at the beginning, and mentions."""
    command = text.split(maxsplit=1)[0] if text.startswith("/") else ""
    commands = (Entity("bot_command", 0, utf16_length(command)),) if len(command) > 1 else ()
    mentions = (
        Entity("mention", utf16_length(text[: name.start()]), len(name[0]))
        for name in re.finditer(r"(?<![\w/@])@[A-Za-z]\w{3,31}", text, re.ASCII)
    )
    return (*commands, *mentions)
