"""A wallet's journal that also books what its payments cost, in the node's ledger.

The wallet's own journal forgets a payment once it is done; what it cost is for the owner's statement.
"""

from cocoon_p2p.ledger import Cost, Store
from cocoon_p2p.payments.wallet.journal import End, Journal, Paid
from cocoon_p2p.payments.wallet.landing import Spending


class BookedJournal:
    """A `Journal` beside a ledger."""

    def __init__(self, journal: Journal, store: Store) -> None:
        self._journal = journal
        self._store = store

    async def pending(self) -> Spending | None:
        return await self._journal.pending()

    async def save(self, spending: Spending) -> None:
        await self._journal.save(spending)

    async def done(self, number: int, end: End) -> None:
        """Book the fees, then let the journal forget. Stopped in between, both are done again, as one.

        Raises:
            Unavailable: The ledger cannot be written; the payment stays pending.
        """
        spending = await self._journal.pending() if isinstance(end, Paid) else None
        if isinstance(end, Paid) and spending is not None:
            done = end.transaction
            await self._store.submit(Cost(spending.account, done.lt, "wallet", done.fees, done.at)).wait()
        await self._journal.done(number, end)
