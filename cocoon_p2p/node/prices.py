"""What keeps a worker's prices: what it sees of the worker, and what it remembers when that starts again."""

import logging
from collections.abc import Mapping
from typing import Protocol

import msgspec

from cocoon_p2p.errors import LocalProtocolError
from cocoon_p2p.ledger import Note
from cocoon_p2p.overview.selling import PriceView
from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.worker.registration import ProxyStanding
from cocoon_p2p.worker.slots import Slots

log = logging.getLogger(__name__)

KEPT_SECONDS = 7 * 24 * 3600.0
"What was remembered for longer than this is no place to begin."


class Seller(Protocol):
    """What of a worker its prices depend on, and are told to (`worker.Worker`)."""

    @property
    def slots(self) -> Slots: ...

    @property
    def standings(self) -> tuple[ProxyStanding, ...]: ...

    def set_prices(self, prices: Mapping[str, Price]) -> None: ...


class Prices(Protocol):
    """A worker's prices, as they stand and as they go on."""

    @property
    def prices(self) -> Mapping[str, Price]: ...

    def views(self) -> list[PriceView]:
        """Say what is asked, and why."""
        ...

    def ask(self, seller: Seller, model: str, completion: int) -> str:
        """Ask this much for 1,000 completion tokens from now on, and say what becomes of the rest.

        Raises:
            ConfigurationError: It is no model of this worker, or its file does not let it have this price.
        """
        ...

    async def keep(self, seller: Seller) -> None:
        """Move them and tell the worker, for ever. A cancel leaves them as they are."""
        ...


def announced(seller: Seller, prices: Mapping[str, Price]) -> bool:
    """Have a worker offer at other prices; False if it cannot, and so goes on at those that it had."""
    try:
        seller.set_prices(prices)
    except LocalProtocolError as exc:
        # Longer numbers may be what a record of many models has no room for.
        log.error("prices not announced", extra={"why": str(exc)})
        return False
    return True


class _Kept(msgspec.Struct):
    at: float
    value: str


def keeping(key: str, value: str, now: float) -> Note:
    """Give what remembers a text under a name, with the time."""
    return Note(key, msgspec.json.encode(_Kept(now, value)))


def kept(value: bytes | None, now: float) -> tuple[str, float] | None:
    """Give a text that was remembered, and when; None: there is none, or it is of no use any more."""
    try:
        read = msgspec.json.decode(value or b"", type=_Kept)
    except msgspec.MsgspecError:
        return None
    # A clock may have been set back since.
    return (read.value, read.at) if abs(now - read.at) < KEPT_SECONDS else None
