"""Updates brought to a bot's own HTTP server, in place of being fetched.

What the real server does: updates of one chat come one after the other, those of different chats side by
side; anything but a 2xx is tried again at once, and then after longer and longer waits; a method that the
answer's body names is called, and nobody hears what came of it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from cocoon_p2p.testing.bot_api.answers import Rejected, bad_request
from cocoon_p2p.testing.bot_api.arguments import Arguments, fields
from cocoon_p2p.testing.bot_api.board import Clock
from cocoon_p2p.testing.bot_api.bots import Bot
from cocoon_p2p.testing.bot_api.changes import Changes, first_of
from cocoon_p2p.testing.bot_api.faults import ConnectionLost
from cocoon_p2p.testing.bot_api.forms import read_form
from cocoon_p2p.testing.bot_api.messages import Json
from cocoon_p2p.testing.bot_api.updates import Update

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105  # A header's name.
SECRET_MAX = 256
CONNECTIONS = 40
"At once, where the bot names no number (setWebhook.max_connections)."

ANSWER_SECONDS = 60.0
"How long the bot's server may take over one update."

DOUBLINGS_MAX = 11

# Methods that an answer may not call.
_NOT_IN_ANSWERS = re.compile(r"(get.*|setwebhook|deletewebhook|close|logout|)", re.IGNORECASE)

CallMethod = Callable[[str, str, Arguments], Awaitable[object]]


@dataclass(slots=True, eq=False)
class Webhook:
    """Where one bot wants its updates, and how that goes."""

    url: str
    secret: str
    connections: int
    last_error: str = ""
    last_error_at: int = 0


def read_webhook(arguments: Arguments) -> Webhook | None:
    """Read what setWebhook asks for; None takes the webhook away. Unlike the real server, it takes http too.

    Raises:
        Rejected: The address or the secret are none.
    """
    url, secret = arguments.text("url"), arguments.text("secret_token")
    if not url:
        return None
    if not re.match(r"https?://[^/]+", url):
        raise bad_request("invalid webhook URL specified")
    if len(secret) > SECRET_MAX:
        raise bad_request("secret token is too long")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", secret):
        raise bad_request("secret token contains unallowed characters")
    return Webhook(url, secret, min(max(arguments.integer("max_connections", CONNECTIONS), 1), 100))


class Webhooks:
    """Brings updates to all bots that want that.

    Args:
        call: Calls a method, of a bot's token, for an answer that asks for it.
        clock: Tells the time, in seconds since the Unix epoch.

    Attributes:
        retry_seconds: The wait after a second failure; it doubles with each further one, to an hour or so.
    """

    def __init__(self, call: CallMethod, clock: Clock) -> None:
        self.retry_seconds = 2.0
        self._call = call
        self._clock = clock
        self._failures = Changes()
        self._standing: dict[int, tuple[Webhook, asyncio.Task[None]]] = {}

    def set(self, bot: Bot, arguments: Arguments) -> object:
        """Set a bot's webhook, or take it away (setWebhook, deleteWebhook).

        Raises:
            Rejected: The address or the secret are none.
        """
        webhook = read_webhook(arguments)
        bot.updates.allow(arguments.value("allowed_updates", "can't parse allowed_updates JSON object"))
        if arguments.flag("drop_pending_updates"):
            bot.updates.drop()
        self._end(bot)
        bot.updates.webhook_active = webhook is not None
        if webhook is not None:
            bot.updates.end_poll()
            self._standing[bot.id] = webhook, asyncio.create_task(self._bring_all(bot, webhook))
        return True

    def describe(self, bot: Bot) -> object:
        """Say how it goes (getWebhookInfo)."""
        webhook, _ = self._standing.get(bot.id, (Webhook("", "", CONNECTIONS), None))
        shown: Json = {
            "url": webhook.url,
            "has_custom_certificate": False,
            "pending_update_count": len(bot.updates.waiting),
            "max_connections": webhook.connections,
        }
        if webhook.last_error:
            shown |= {"last_error_message": webhook.last_error, "last_error_date": webhook.last_error_at}
        return shown

    async def failed(self, bot: Bot) -> None:
        """Wait until a bot's webhook has failed to take an update."""
        await self._failures.until(lambda: bot.id in self._standing and self._standing[bot.id][0].last_error)

    async def close(self) -> None:
        """Bring nothing any more. An update on its way may have arrived or not."""
        tasks = [task for _, task in self._standing.values()]
        self._standing.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, bot: Bot) -> None:
        if (standing := self._standing.pop(bot.id, None)) is not None:
            standing[1].cancel()

    async def _bring_all(self, bot: Bot, webhook: Webhook) -> None:
        busy: set[int] = set()
        moved = Changes()
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:

            async def bring(update: Update, place: int) -> None:
                await self._bring(session, bot, webhook, update)
                bot.updates.remove(update)
                busy.discard(place)
                moved.tell()

            while True:
                for update in bot.updates.waiting:
                    place = _place(update)
                    if place not in busy and len(busy) < webhook.connections:
                        busy.add(place)
                        tasks.create_task(bring(update, place))
                await first_of(bot.updates.next(), moved.next())

    async def _bring(
        self, session: aiohttp.ClientSession, bot: Bot, webhook: Webhook, update: Update
    ) -> None:
        failures = 0
        while (error := await self._post(session, bot, webhook, update)) is not None:
            webhook.last_error, webhook.last_error_at = error, int(self._clock())
            self._failures.tell()
            await asyncio.sleep(self.retry_seconds * 2 ** (failures - 1) if failures else 0)
            failures = min(failures + 1, DOUBLINGS_MAX)

    async def _post(
        self, session: aiohttp.ClientSession, bot: Bot, webhook: Webhook, update: Update
    ) -> str | None:
        """Bring one update once; gives what was wrong, if anything."""
        headers = {SECRET_HEADER: webhook.secret} if webhook.secret else {}
        limit = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        try:
            async with session.post(
                webhook.url, json=update.as_json(), headers=headers, timeout=limit
            ) as answer:
                if not 200 <= answer.status <= 299:
                    return f"Wrong response from the webhook: {answer.status} {answer.reason}"
                await self._obey(bot, await _asked(answer))
        except (aiohttp.ClientError, TimeoutError):
            return "Webhook connection closed"
        return None

    async def _obey(self, bot: Bot, asked: Arguments) -> None:
        method = asked.text("method")
        if not _NOT_IN_ANSWERS.fullmatch(method):
            with suppress(ConnectionLost):
                await self._call(bot.token, method, asked)


async def _asked(answer: aiohttp.ClientResponse) -> Arguments:
    """Read what the body asks for; nothing where it is none of the forms that are known."""
    try:
        match answer.content_type:
            case "application/json":
                return Arguments(fields(await answer.json()))
            case "multipart/form-data":
                reader = aiohttp.MultipartReader(answer.headers, answer.content)
                return await read_form(reader)
            case _:
                return Arguments()
    except (ValueError, Rejected):
        return Arguments()


def _place(update: Update) -> int:
    """Tell which updates come one after the other: those of a chat, or of a person."""
    message = update.payload.get("message")
    within = fields(message) or update.payload
    place = fields(within.get("chat")) or fields(update.payload.get("from"))
    number = place.get("id", 0)
    return number if isinstance(number, int) else 0
