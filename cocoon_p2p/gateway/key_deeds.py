"""What a gateway's owner does to its keys: through the control socket of one that runs, or without it."""

from typing import TypeAlias

import msgspec
import trio

from cocoon_p2p.client import Budget, Purses, PurseView
from cocoon_p2p.control import Answer, Request, Verb
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.gateway.keys import ApiKey, Keys
from cocoon_p2p.units import Nano


class MakeKey(Request, tag="key-create", frozen=True):
    """Ask for a new key."""

    name: str
    limit: int | None = None
    "Of its purse, in nanoTON; None: none."

    every_seconds: int | None = None
    "The limit's window; None: once and for all."

    requests_per_minute: int | None = None


class ListKeys(Request, tag="key-list", frozen=True):
    """Ask for every key."""


class RevokeKey(Request, tag="key-revoke", frozen=True):
    """Take a key back."""

    id: str


class TopUpKey(Request, tag="key-top-up", frozen=True):
    """Add to what a key can spend beyond its budget."""

    id: str
    amount: int
    "In nanoTON."


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key, and how its purse stands. Amounts are in nanoTON."""

    id: str
    name: str
    requests_per_minute: int | None
    created_at: int
    limit_nano: int | None
    every_seconds: int | None
    spent_nano: int
    reserved_nano: int
    left_nano: int | None
    credit_nano: int
    total_nano: int
    renews_in_seconds: float | None
    secret: str | None = None
    "Told once, when it is made."


Views: TypeAlias = list[KeyView]

MAKE_KEY = Verb(MakeKey, KeyView)
LIST_KEYS = Verb(ListKeys, Views)
REVOKE_KEY = Verb(RevokeKey, KeyView)
TOP_UP_KEY = Verb(TopUpKey, KeyView)


class KeyDeeds:
    """Carries them out. Made before the ledger is open; until `begin` nothing can be done."""

    def __init__(self) -> None:
        self._parts: tuple[Keys, Purses] | None = None

    def begin(self, keys: Keys, purses: Purses) -> None:
        """Stand on a ledger's keys and purses from now on."""
        self._parts = keys, purses

    def answers(self) -> tuple[Answer, ...]:
        """Give what is asked through a control socket."""
        return (
            MAKE_KEY.by(self.make),
            LIST_KEYS.by(self.list),
            REVOKE_KEY.by(self.revoke),
            TOP_UP_KEY.by(self.top_up),
        )

    async def make(self, request: MakeKey) -> KeyView:
        """Make a key. Raises as `Keys.create` and `Budget` do."""
        keys, purses = self._ready()
        budget = None if request.limit is None else Budget(Nano(request.limit), request.every_seconds)
        key, secret = await keys.create(request.name, budget, request.requests_per_minute)
        return _view(key, await purses.look(key.purse), secret)

    async def list(self, _request: ListKeys) -> Views:
        """Show every key, the oldest first."""
        keys, purses = self._ready()
        await trio.lowlevel.checkpoint()
        return [_view(key, await purses.look(key.purse)) for key in keys.list()]

    async def revoke(self, request: RevokeKey) -> KeyView:
        """Take a key back. Raises as `Keys.revoke` does."""
        keys, purses = self._ready()
        key = await keys.revoke(request.id)
        return _view(key, await purses.look(key.purse))

    async def top_up(self, request: TopUpKey) -> KeyView:
        """Add to what a key can spend. Raises as `Keys.get` and `Purses.top_up` do."""
        keys, purses = self._ready()
        key = keys.get(request.id)
        return _view(key, await purses.top_up(key.purse, Nano(request.amount)))

    def _ready(self) -> tuple[Keys, Purses]:
        if self._parts is None:
            raise Unavailable("the gateway is not up yet", hint="try again in a moment", retry_after=1.0)
        return self._parts


def _view(key: ApiKey, purse: PurseView, secret: str | None = None) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        requests_per_minute=key.requests_per_minute,
        created_at=key.created_at,
        limit_nano=None if purse.budget is None else purse.budget.limit,
        every_seconds=None if purse.budget is None else purse.budget.every_seconds,
        spent_nano=purse.spent,
        reserved_nano=purse.reserved,
        left_nano=purse.left,
        credit_nano=purse.credit,
        total_nano=purse.total,
        renews_in_seconds=purse.renews_in_seconds,
        secret=secret,
    )
