"""The fake itself: a call comes in, an answer goes out, whatever carries them."""

from collections import deque
from dataclasses import dataclass

from cocoon_p2p.testing.bot_api.answers import Rejected, bad_request, too_many_requests
from cocoon_p2p.testing.bot_api.arguments import Arguments
from cocoon_p2p.testing.bot_api.board import Clock
from cocoon_p2p.testing.bot_api.bots import Bot
from cocoon_p2p.testing.bot_api.changes import Changes
from cocoon_p2p.testing.bot_api.chats import Chat
from cocoon_p2p.testing.bot_api.faults import ConnectionLost, Fault, FaultKind, Faults
from cocoon_p2p.testing.bot_api.flood import FloodLimits
from cocoon_p2p.testing.bot_api.messages import Json, User
from cocoon_p2p.testing.bot_api.methods import METHODS
from cocoon_p2p.testing.bot_api.webhooks import Webhooks
from cocoon_p2p.testing.bot_api.world import World

TOKEN = "4242:a-token-of-nobodys"  # noqa: S105  # It opens nothing.

CALLS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back: a status, and JSON or (from before the server) a page of HTML."""

    status: int
    body: Json | str

    @property
    def retry_after(self) -> int | None:
        """Seconds to wait, with 429."""
        match self.body:
            case {"parameters": {"retry_after": int(seconds)}}:
                return seconds
            case _:
                return None

    @property
    def description(self) -> str:
        """What was wrong, in the server's words; empty where nothing was."""
        return str(self.body.get("description", "")) if isinstance(self.body, dict) else ""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a bot's, and what came of it."""

    bot_id: int
    method: str
    arguments: Arguments
    chat_id: int | None
    at: float
    status: int
    "What was answered, or would have been."

    answered: bool
    "False where that did not reach the bot."

    description: str = ""


class FakeBotApi:
    """Telegram, as bots meet it.

    Everything happens on the asyncio loop that it was made on.

    Args:
        url: Where it is served; the base that a bot library is given in place of https://api.telegram.org.
        clock: Tells the time, in seconds since the Unix epoch.
        limits: How much each bot may send.

    Attributes:
        faults: What shall go wrong; a test orders it.
        calls: What the bots called, in order, but for getUpdates.
        webhooks: Brings updates to bots that asked for that.
    """

    def __init__(self, url: str, clock: Clock, limits: FloodLimits) -> None:
        self.url = url
        self.world = World(clock, limits)
        self.faults = Faults()
        self.calls: deque[Call] = deque(maxlen=CALLS_MAX)
        self.webhooks = Webhooks(self.call, clock)
        self._changes = Changes()
        self.bot = self.add_bot(TOKEN, "fake_bot")

    @property
    def token(self) -> str:
        """The token of the first bot."""
        return self.bot.token

    def add_bot(self, token: str, username: str) -> Bot:
        """Make another bot."""
        return self.world.add_bot(token, username)

    def user(
        self, user_id: int, first_name: str = "Ada", *, username: str = "", language: str = "en"
    ) -> User:
        """Find a person by number, or make them."""
        return self.world.user(user_id, first_name, username, language)

    def private(self, user: User | int, *, bot: Bot | None = None) -> Chat:
        """Find the chat of a person with a bot, or start it."""
        person = self.user(user) if isinstance(user, int) else user
        return self.world.private(person, bot or self.bot)

    def group(self, *people: User, title: str = "Group", bots: tuple[Bot, ...] = ()) -> Chat:
        """Make a group of these people and bots (the first bot where none is named)."""
        return self.world.group(title, people, bots or (self.bot,))

    def called(self, method: str, *, chat_id: int | None = None) -> list[Call]:
        """Give the calls of a method so far, of a chat where one is named."""
        return [
            call
            for call in self.calls
            if call.method.lower() == method.lower() and chat_id in (None, call.chat_id)
        ]

    async def until_called(self, method: str, *, times: int = 1, seconds: float = 60.0) -> list[Call]:
        """Wait until a method has been called so often, and give those calls.

        Raises:
            TimeoutError: It was not, in so many seconds.
        """

        def often_enough() -> list[Call]:
            calls = self.called(method)
            return calls if len(calls) >= times else []

        return await self._changes.until(often_enough, seconds=seconds)

    async def close(self) -> None:
        """End what it does by itself. Calls that wait are ended by who carries them."""
        await self.webhooks.close()

    async def call(self, token: str, method: str, arguments: Arguments) -> Reply:
        """Take one call, with whatever goes wrong on its way.

        A cancel while it waits (getUpdates, a held call) leaves it without effect.

        Raises:
            ConnectionLost: The answer shall not reach the bot.
        """
        try:
            bot = self.world.bot(token)
        except Rejected as no:
            return refusal(no)
        chat_id = arguments.integer("chat_id") or None
        fault = self.faults.take(method, chat_id)
        if fault is not None and fault.kind is FaultKind.HOLD:
            try:
                await fault.released.wait()
            finally:
                fault.ended.set()
        reply = _in_place(fault) or await self._answer(bot, method, arguments)
        kind = fault.kind if fault is not None else None
        lost = kind in (FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER)
        self._note(bot, method, arguments, reply, answered=not lost and kind is not FaultKind.ERROR_AFTER)
        if lost:
            raise ConnectionLost
        if fault is not None and kind is FaultKind.ERROR_AFTER:
            return _failure(fault.status)
        return reply

    async def _answer(self, bot: Bot, method: str, arguments: Arguments) -> Reply:
        try:
            if method.lower() == "getupdates":
                result: object = await _get_updates(bot, arguments)
            elif method.lower() in ("setwebhook", "deletewebhook"):
                result = self.webhooks.set(bot, arguments)
            elif method.lower() == "getwebhookinfo":
                result = self.webhooks.describe(bot)
            elif (known := METHODS.get(method.lower())) is not None:
                result = known(self.world, bot, arguments)
            else:
                raise Rejected(404, "Not Found: method not found")
        except Rejected as no:
            return refusal(no)
        except UnicodeEncodeError:
            # Half of a surrogate pair, which JSON can carry.
            return refusal(bad_request("strings must be encoded in UTF-8"))
        return Reply(200, {"ok": True, "result": result})

    def _note(self, bot: Bot, method: str, arguments: Arguments, reply: Reply, *, answered: bool) -> None:
        if method.lower() == "getupdates":
            return
        chat_id, now = arguments.integer("chat_id") or None, self.world.clock()
        call = Call(bot.id, method, arguments, chat_id, now, reply.status, answered, reply.description)
        self.calls.append(call)
        self._changes.tell()


async def _get_updates(bot: Bot, arguments: Arguments) -> object:
    bot.updates.allow(arguments.value("allowed_updates", "can't parse allowed_updates JSON object"))
    offset, limit = arguments.integer("offset"), arguments.integer("limit", 100)
    updates = await bot.updates.poll(offset, limit, arguments.integer("timeout"))
    return [update.as_json() for update in updates]


def _in_place(fault: Fault | None) -> Reply | None:
    """Give what is answered in place of the call's taking effect, if anything."""
    match fault:
        case Fault(kind=FaultKind.ERROR | FaultKind.DROP_BEFORE):
            return _failure(fault.status)
        case Fault(kind=FaultKind.FLOOD):
            return refusal(too_many_requests(fault.retry_after))
        case _:
            return None


def _failure(status: int) -> Reply:
    """An error of the server's (JSON), or of what stands before it (HTML)."""
    if status == 500:
        return Reply(500, {"ok": False, "error_code": 500, "description": "Internal Server Error"})
    title = {502: "502 Bad Gateway", 503: "503 Service Unavailable", 504: "504 Gateway Time-out"}.get(
        status, f"{status} Error"
    )
    page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
    return Reply(status, f"{page}<hr><center>nginx/1.18.0</center>\r\n</body>\r\n</html>\r\n")


def refusal(no: Rejected) -> Reply:
    """Spell an error as the server does."""
    body: Json = {"ok": False, "error_code": no.code, "description": no.description}
    if no.retry_after is not None:
        body["parameters"] = {"retry_after": no.retry_after}
    return Reply(no.code, body)
