"""A local chain without a socket, as payments see a chain: for tests, real contracts and all.

    devchain = DevChain(now=1_800_000_000)
    chain = LocalChain(devchain)
    devchain.give(account, 10 * NANO_PER_TON)
    seen = await chain.account(account)

What ran is in a block, and so to be seen, as soon as somebody looks. Nothing waits for a thread
or a wall clock, so trio's `autojump_clock` works with it. The attributes make it fail as
networks fail; they may be changed at any time.
"""

from collections.abc import Sequence

import trio

from cocoon_p2p.errors import MalformedMessage, Unavailable
from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.chain import AccountSeen, MessageRefused, Transaction
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import AccountId as LocalAccountId
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.devchain.augmap import find
from cocoon_p2p.payments.devchain.layouts import key_of
from cocoon_p2p.payments.devchain.tvm import MessageRejected
from cocoon_p2p.payments.lite.accounts import NOTHING, read_account
from cocoon_p2p.payments.lite.transactions import read_transaction


class LocalChain:
    """A `Chain` over a `DevChain`.

    Attributes:
        chain: The chain itself: its faucet, its clock.
        is_down: Whether every call fails with `Unavailable`.
        is_silent: Whether calls are never answered; who waits, waits until cancelled.
        loses_messages: Whether what is sent is taken and never carried out.
        delay_seconds: How long every call takes, at least.
        sent: Every message that was taken, in order, the lost ones too.
    """

    def __init__(self, chain: DevChain) -> None:
        self.chain = chain
        self.is_down = False
        self.is_silent = False
        self.loses_messages = False
        self.delay_seconds = 0.0
        self.sent: list[bytes] = []

    @property
    def global_id(self) -> int:
        return self.chain.global_id

    async def time(self) -> int:
        await self._reached()
        return self.chain.last.shard.utime

    async def account(self, account: AccountId) -> AccountSeen:
        await self._reached()
        pair = self.chain.last
        found = find(pair.accounts, key_of(LocalAccountId(account)))
        held = NOTHING if found is None else read_account(read_one(found.state), account)
        return AccountSeen(
            account=account,
            balance=held.balance,
            code=held.code,
            data=held.data,
            last_lt=0 if found is None else found.last_lt,
            at=pair.shard.utime,
        )

    async def transactions(self, account: AccountId, *, since_lt: int = 0) -> Sequence[Transaction]:
        await self._reached()
        found = find(self.chain.last.accounts, key_of(LocalAccountId(account)))
        lt = 0 if found is None else found.last_lt
        read: list[Transaction] = []
        for past in self.chain.history.transactions(LocalAccountId(account), up_to_lt=lt, count=lt):
            # The first of an account has none before it; what was there before that is another life's.
            if lt <= since_lt:
                break
            link = read_transaction(read_one(past.transaction.boc), account)
            read.append(link.transaction)
            lt = link.previous_lt
        return tuple(reversed(read))

    async def send(self, message: bytes) -> None:
        await self._reached()
        if not self.loses_messages:
            try:
                self.chain.send(message)
            except MessageRejected as exc:
                raise MessageRefused("the contract rejects it", exit_code=exc.exit_code) from exc
            except MalformedMessage as exc:
                raise MessageRefused(str(exc)) from exc
        self.sent.append(message)

    async def _reached(self) -> None:
        """Fail as told; then see to it that all that ran is in a block, and that the block is of now."""
        await trio.sleep(self.delay_seconds)
        if self.is_silent:
            await trio.sleep_forever()
        if self.is_down:
            raise Unavailable("the chain cannot be reached (told to be down)")
        if self.chain.is_block_due or self.chain.now > self.chain.last.shard.utime:
            self.chain.make_block()
