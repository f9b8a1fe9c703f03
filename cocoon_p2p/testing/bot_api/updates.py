"""What waits for a bot: its updates, and who fetches them.

An update is kept until the bot has asked for one that comes after it. Only one may ask at a time: whoever
asks second ends the first one's call with 409, which is what happens to a bot that runs twice.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from cocoon_p2p.testing.bot_api.answers import OTHER_POLL, POLL_ENDED_BY_WEBHOOK, WEBHOOK_ACTIVE, Rejected
from cocoon_p2p.testing.bot_api.arguments import entries
from cocoon_p2p.testing.bot_api.changes import Changes, first_of

POLL_LIMIT = 100
POLL_SECONDS_MAX = 50
"`LONG_POLL_MAX_TIMEOUT` of telegram-bot-api's Client.h."

WAITING_MAX = 100_000
"Updates that wait for one bot; the real server drops them after a day."

# Sent only to bots that name them in allowed_updates.
UNASKED = frozenset({"chat_member", "message_reaction", "message_reaction_count"})


@dataclass(frozen=True, slots=True)
class Update:
    """One update: its number, its kind, and the object of that kind."""

    update_id: int
    kind: str
    payload: dict[str, object]

    def as_json(self) -> dict[str, object]:
        """Write it as the Bot API does."""
        return {"update_id": self.update_id, self.kind: self.payload}


@dataclass(slots=True, eq=False)
class _Poll:
    """A call that waits for updates."""

    ended: asyncio.Future[None]
    why: str | None = None

    def end(self, why: str) -> None:
        if self.why is None and not self.ended.done():
            self.why = why
            self.ended.set_result(None)


class Updates:
    """One bot's updates, in order."""

    def __init__(self, first_id: int = 1) -> None:
        self._waiting: deque[Update] = deque(maxlen=WAITING_MAX)
        self._next_id = first_id
        self._allowed: frozenset[str] | None = None
        self._changes = Changes()
        self._polls = Changes()
        self._poll: _Poll | None = None
        self.webhook_active = False
        "Whether they are sent to a webhook, which nobody may poll beside."

    @property
    def waiting(self) -> tuple[Update, ...]:
        """What the bot has not confirmed yet."""
        return tuple(self._waiting)

    def put(self, kind: str, payload: dict[str, object]) -> None:
        """Add an update, if the bot takes its kind."""
        if (kind in self._allowed) if self._allowed is not None else (kind not in UNASKED):
            self._waiting.append(Update(self._next_id, kind, payload))
            self._next_id += 1
            self._changes.tell()

    def allow(self, kinds: object) -> None:
        """Take the kinds that a bot names; an empty list stands for the usual ones, None changes nothing."""
        if kinds is not None:
            self._allowed = frozenset(map(str, entries(kinds))) or None

    def confirm(self, offset: int) -> None:
        """Forget what comes before `offset`; a negative one keeps so many from the end."""
        if offset < 0:
            offset = self._next_id + offset
        while self._waiting and self._waiting[0].update_id < offset:
            self._waiting.popleft()
        self._polls.tell()

    def drop(self) -> None:
        """Forget them all (`drop_pending_updates`)."""
        self._waiting.clear()

    async def poll(self, offset: int, limit: int, seconds: int) -> list[Update]:
        """Give what waits, or what comes within so many seconds. A cancel confirms nothing further.

        Raises:
            Rejected: A webhook is set, or another call took this one's place.
        """
        if self.webhook_active:
            raise Rejected(409, WEBHOOK_ACTIVE)
        self.end_poll(OTHER_POLL)
        self.confirm(offset)
        if not self._waiting and seconds:
            await self._wait(min(seconds, POLL_SECONDS_MAX))
        return list(self._waiting)[: min(max(limit, 1), POLL_LIMIT)]

    async def emptied(self) -> None:
        """Wait until the bot has taken them all."""
        while self._waiting:
            await self._polls.next()

    async def polled(self) -> None:
        """Wait until a call waits for updates."""
        while self._poll is None:
            await self._polls.next()

    def end_poll(self, why: str = POLL_ENDED_BY_WEBHOOK) -> None:
        """End the call that waits for updates, if one does, with 409."""
        if self._poll is not None:
            self._poll.end(why)

    def remove(self, update: Update) -> None:
        """Forget one that was brought."""
        if update in self._waiting:
            self._waiting.remove(update)
            self._polls.tell()

    def next(self) -> asyncio.Future[None]:
        """Give what is done with the next update."""
        return self._changes.next()

    async def _wait(self, seconds: int) -> None:
        poll = self._poll = _Poll(asyncio.get_running_loop().create_future())
        self._polls.tell()
        try:
            await first_of(poll.ended, self.next(), seconds=seconds)
        finally:
            if self._poll is poll:
                self._poll = None
        if poll.why is not None:
            raise Rejected(409, poll.why)
