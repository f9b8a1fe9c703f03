"""Exchanges that need not be asked for: a look-up must not wait for a server.

Nearly every look-up is for an exchange that is new, or that was written a moment ago. The first are
known by not being among the ids of all that are on disk, the second are kept. What is left goes to the
server: a peer that repeats what it asked for long ago.
"""

from collections.abc import Iterable, Sequence

from cocoon_p2p.ledger import Change, ChannelName, EndedForgotten, ExchangeForgotten, ExchangeRow, Status
from cocoon_p2p.protocols.messages import ExchangeId

KNOWN_MAX = 250_000
"Ids of exchanges in memory, some 100 bytes each. A ledger with more asks its server for every new exchange."

KEPT_MAX = 4_096
"Exchanges whose rows are in memory: about a kilobyte each."


class RecentExchanges:
    """What is known of the exchanges on disk.

    Args:
        known: The ids of all that are on disk; more than `KNOWN_MAX` are not kept. None: they are not known.
    """

    def __init__(
        self, known: Iterable[ExchangeId] | None, *, kept_max: int = KEPT_MAX, known_max: int = KNOWN_MAX
    ) -> None:
        self._known: set[ExchangeId] | None = None if known is None else set(known)
        self._kept: dict[ExchangeId, dict[ChannelName, ExchangeRow]] = {}
        self._kept_max = kept_max
        self._known_max = known_max
        self._bound()

    def find(self, exchange: ExchangeId) -> Sequence[ExchangeRow] | None:
        """Give all rows of an exchange, or None where only the server can tell."""
        kept = self._kept.get(exchange)
        if kept is not None:
            return tuple(kept.values())
        return () if self._is_new(exchange) else None

    def keep(self, exchange: ExchangeId, rows: Iterable[ExchangeRow]) -> None:
        """Remember all rows of an exchange, as the server gave them."""
        self._kept[exchange] = {row.name: row for row in rows}
        self._bound()

    def landed(self, change: Change) -> None:
        """Follow a change that is on disk."""
        match change:
            case ExchangeRow(name=name, exchange=exchange):
                if exchange in self._kept or self._is_new(exchange):
                    self._kept.setdefault(exchange, {})[name] = change
                if self._known is not None:
                    self._known.add(exchange)
                self._bound()
            case ExchangeForgotten(name=name, exchange=exchange):
                self._kept.get(exchange, {}).pop(name, None)
            case EndedForgotten(before=before):
                for rows in self._kept.values():
                    for row in tuple(rows.values()):
                        if row.status is Status.ENDED and row.at < before:
                            del rows[row.name]
            case _:
                pass

    def _is_new(self, exchange: ExchangeId) -> bool:
        return self._known is not None and exchange not in self._known

    def _bound(self) -> None:
        while len(self._kept) > self._kept_max:
            del self._kept[next(iter(self._kept))]
        if self._known is not None and len(self._known) > self._known_max:
            self._known = None
