"""An account's transactions, read backwards from the one that is proven to be its last.

Each transaction names the hash of the one before it, so no server can add, change or leave out
one. It can only stop: that it has forgotten the rest is its word, and the next one is asked.
"""

import logging
from collections.abc import Sequence

from cocoon_p2p.errors import MalformedMessage, Unavailable
from cocoon_p2p.payments.chain import Transaction
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.lite import queries
from cocoon_p2p.payments.lite.proof_bags import read_whole
from cocoon_p2p.payments.lite.proofs import Unreadable
from cocoon_p2p.payments.lite.queries import ServerError
from cocoon_p2p.payments.lite.server import LiteServer
from cocoon_p2p.payments.lite.transactions import Link, read_transaction

log = logging.getLogger(__name__)

TRANSACTIONS_MAX = 1024
"The most that one call reads: the newest. What is older is a gap, as if it were forgotten."


def read_page(answer: bytes, account: AccountId, lt: int, hash_: bytes) -> list[Link]:
    """Check transactions against the chain that they form.

    Args:
        answer: A server's, newest first.
        account: Whose they should be.
        lt: The first one's logical time.
        hash_: Its hash.

    Raises:
        ServerError: It is an error.
        MalformedMessage: They are not that transaction and those before it.
        Unreadable: They are, but cannot be read.
    """
    page: list[Link] = []
    for root in read_whole(queries.read_transactions(answer)):
        if not lt:
            # What an account of that address did in an earlier life is not in this chain.
            break
        if root.hash != hash_:
            raise MalformedMessage("a transaction that the account did not have")
        try:
            link = read_transaction(root, account)
        except MalformedMessage as exc:
            raise Unreadable(f"a transaction of a kind that is not read: {exc}") from exc
        page.append(link)
        if link.transaction.lt != lt or link.previous_lt >= lt:
            raise Unreadable(f"a transaction out of order (lt={link.transaction.lt})")
        lt, hash_ = link.previous_lt, link.previous_hash
    return page


async def read_history(
    servers: Sequence[LiteServer], account: AccountId, lt: int, hash_: bytes, since_lt: int
) -> tuple[Transaction, ...]:
    """Read an account's transactions, from one back to a logical time; give them oldest first.

    Args:
        servers: Whom to ask, in this order.
        account: Whose.
        lt: The logical time of the last one.
        hash_: Its hash, proven.
        since_lt: Where to stop.

    Raises:
        Unavailable: No server answers, or none knows even the last one.
        Unreadable: One is not to be read here.
    """
    found: list[Transaction] = []
    while lt > since_lt and len(found) < TRANSACTIONS_MAX:
        page = await _page(servers, account, lt, hash_)
        if page is None:
            break
        found += [link.transaction for link in page if link.transaction.lt > since_lt]
        lt, hash_ = page[-1].previous_lt, page[-1].previous_hash
    if lt > since_lt:
        log.warning("transactions left out", extra={"before_lt": lt, "since_lt": since_lt})
    if lt > since_lt and not found:
        raise Unavailable(
            "no lite server knows the account's last transaction (account={account.hex()[:16]})"
        )
    return tuple(reversed(found))


async def _page(
    servers: Sequence[LiteServer], account: AccountId, lt: int, hash_: bytes
) -> list[Link] | None:
    """Read some transactions. None: all who answer have forgotten them."""
    query = queries.get_transactions(account, lt, hash_)
    is_forgotten = False
    for server in servers:
        if server.rest_seconds:
            continue
        try:
            return await server.ask(query, lambda answer: read_page(answer, account, lt, hash_))
        except ServerError:
            is_forgotten = True
        except (Unavailable, MalformedMessage):
            continue
    if is_forgotten:
        return None
    raise Unavailable("no lite server shows the account's transactions")
