"""A watcher: it looks after channels for a payee that may be away, with nothing but their vouchers.

    the file of vouchers --.
    the clock -------------+--> look, with proof --> claim, if the payer leaves or enough is due
                           '--- again: in time, or soon after a failure

It has no key and no wallet: it claims by external messages, which are paid for out of what is due. It may
run beside the node, or several of it in several places: the contract takes each total once.

Spec: payments/settlement.md (Claims without a wallet, Closing alone).
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import trio

from cocoon_p2p.errors import CocoonError, Unavailable
from cocoon_p2p.payments.chain import AccountSeen, Chain, MessageRefused
from cocoon_p2p.payments.channel import Backing
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.treasury.claiming import changed, claim
from cocoon_p2p.payments.treasury.sight import Gone, Sight, due, is_claim_due, read_sight
from cocoon_p2p.payments.treasury.watched import Watched, better
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.units import NANO_MAX, Nano

log = logging.getLogger(__name__)

LOOKS_A_DELAY = 8
"Looks within one close delay, twice as many as must be: what a payer starts is seen, even if some fail."

AGAIN_FIRST_SECONDS, AGAIN_LAST_SECONDS = 2.0, 60.0
"After a failure a channel is looked at again, with doubling pauses."

REREAD_SECONDS = 30.0
"How often it is asked whether there are newer vouchers."

AT_ONCE_MAX = 8
"Channels that are looked at at once."

GONE_SECONDS = 3600.0
"""How long a contract is looked at that is gone: a server that is behind may not know it yet, and vouchers
come from somebody who has seen it."""

LOOK_MAX_SECONDS = SEND_MAX_SECONDS = 60.0
"How long a chain may take to answer, or to take a claim; it counts as unreachable then."


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """When to look, and when to claim."""

    every_seconds: float = 3600.0
    "How often to look, at least; a close delay that is short makes it more often."

    above: Nano | None = None
    "Claim once this much is due, in nanoTON; None: only when the payer has begun to close."


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look showed."""

    watched: Watched
    sight: Sight
    due: Nano
    "What the voucher would collect now."


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim has landed."""

    watched: Watched
    amount: Nano
    "By how much more was collected."


@dataclass(frozen=True, slots=True)
class Failed:
    """A look or a claim has failed; it is tried again."""

    watched: Watched
    error: CocoonError


@dataclass(frozen=True, slots=True)
class NotRead:
    """The vouchers could not be read; those that are known are watched on."""

    error: CocoonError


Event = Looked | Claimed | Failed | NotRead

Read = Callable[[], Awaitable[Iterable[Watched] | None]]
"Gives the vouchers that there are; None: the same as before."


def interval(watched: Watched, policy: WatchPolicy) -> float:
    """Say how often a channel is looked at, in seconds: more often than a quarter of its close delay."""
    return min(policy.every_seconds, watched.deployment.close_delay_seconds / LOOKS_A_DELAY)


def judge(watched: Watched, seen: AccountSeen) -> tuple[Sight, Nano]:
    """Read a look: what stands there, and what the voucher would collect.

    Raises:
        MalformedMessage: The account holds something else than this channel's contract.
    """
    sight = read_sight(watched.deployment, Backing(epoch=watched.voucher.epoch), seen)
    return sight, due(Nano(watched.voucher.total), sight) if isinstance(sight, Backing) else Nano(0)


class Watchtower:
    """Looks after channels by their vouchers. Make one, then `run` it, or look around `once`.

    Args:
        chain: The network that the channels are on.
        read: Gives their newest vouchers. What it once gave is not forgotten when it is missing later.
        policy: When to look, and when to claim.
        tell: Told of all that happens.
    """

    def __init__(self, chain: Chain, read: Read, policy: WatchPolicy, tell: Callable[[Event], None]) -> None:
        self._chain = chain
        self._read = read
        self._policy = policy
        self._tell = tell
        self._known: dict[ChannelId, Watched] = {}
        self._gone_since: dict[ChannelId, float] = {}
        "Since when a contract is not to be seen, by trio's clock."

        self._over: set[ChannelId] = set()
        "Channels that are looked at no more."

        self._failures: dict[ChannelId, int] = {}
        "How many times in a row each could not be looked after."

        self._places = trio.CapacityLimiter(AT_ONCE_MAX)

    async def run(self) -> None:
        """Watch until cancelled. A cancel may leave a claim sent, which is harmless."""
        async with trio.open_nursery() as nursery:
            while True:
                for channel in await self._reread():
                    nursery.start_soon(self._watch, channel)
                await trio.sleep(REREAD_SECONDS)

    async def once(self) -> bool:
        """Look at every channel once, and claim what is due; say whether all could be done."""
        async with trio.open_nursery() as nursery:
            for channel in await self._reread():
                nursery.start_soon(self._attend, channel)
        return not self._failures

    # ------------------------------------------------------------ vouchers

    async def _reread(self) -> list[ChannelId]:
        """Take in the newest vouchers; name the channels that were not known."""
        before = set(self._known)
        try:
            for watched in await self._read() or ():
                if watched.channel not in self._over:
                    self._known[watched.channel] = better(self._known.get(watched.channel), watched)
        except CocoonError as exc:
            self._tell(NotRead(exc))
        return [channel for channel in self._known if channel not in before]

    # ------------------------------------------------------------ one channel

    async def _watch(self, channel: ChannelId) -> None:
        """Look after a channel until its contract is gone for good."""
        while not self._is_over(channel):  # noqa: ASYNC110 (a look is more than a glance)
            await trio.sleep(await self._attend(channel))
        self._over.add(channel)
        del self._known[channel]

    async def _attend(self, channel: ChannelId) -> float:
        """Look at a channel, and claim if that is called for; give the pause before the next look."""
        async with self._places:
            # With the voucher of now: a better one may have come while this waited.
            watched = self._known[channel]
            try:
                await self._look_and_claim(watched)
            except CocoonError as exc:
                self._tell(Failed(watched, exc))
                return min(self._again(channel, exc), interval(watched, self._policy))
        self._failures.pop(channel, None)
        return interval(watched, self._policy)

    def _again(self, channel: ChannelId, error: CocoonError) -> float:
        failures = self._failures[channel] = self._failures.get(channel, 0) + 1
        # What the contract refuses now it refuses in a moment as well.
        if isinstance(error, MessageRefused):
            return AGAIN_LAST_SECONDS
        return min(AGAIN_FIRST_SECONDS * 2.0 ** min(failures - 1, 16), AGAIN_LAST_SECONDS)

    async def _look_and_claim(self, watched: Watched) -> None:
        seen = await self._look(watched)
        sight, amount = judge(watched, seen)
        self._note(watched.channel, is_gone=isinstance(sight, Gone))
        self._tell(Looked(watched, sight, amount))
        if isinstance(sight, Backing) and self._is_due(sight, amount):
            await self._claim(watched, seen, sight)

    async def _look(self, watched: Watched) -> AccountSeen:
        with trio.move_on_after(LOOK_MAX_SECONDS):
            return await self._chain.account(AccountId(watched.channel))
        raise Unavailable(f"the chain does not answer (waited={LOOK_MAX_SECONDS:g} seconds)")

    def _is_due(self, backing: Backing, amount: Nano) -> bool:
        above = Nano(NANO_MAX) if self._policy.above is None else self._policy.above
        return is_claim_due(amount, backing, above=above, is_old=False)

    async def _claim(self, watched: Watched, seen: AccountSeen, before: Backing) -> None:
        with trio.move_on_after(SEND_MAX_SECONDS) as scope:
            await claim(self._chain, watched.voucher, None)
        if scope.cancelled_caught:
            raise Unavailable(f"the chain does not take the claim (waited={SEND_MAX_SECONDS:g} seconds)")
        sight, _ = judge(watched, await changed(self._chain, AccountId(watched.channel), seen))
        if not isinstance(sight, Backing) or sight.claimed <= before.claimed:
            raise Unavailable("something else happened to the contract first")
        self._tell(Claimed(watched, Nano(sight.claimed - before.claimed)))

    def _note(self, channel: ChannelId, *, is_gone: bool) -> None:
        if is_gone:
            self._gone_since.setdefault(channel, trio.current_time())
        else:
            self._gone_since.pop(channel, None)

    def _is_over(self, channel: ChannelId) -> bool:
        return trio.current_time() - self._gone_since.get(channel, float("inf")) >= GONE_SECONDS
