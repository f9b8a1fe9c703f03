"""A whole TON network in one object: real contracts, real blocks, no validators, no waiting.

    chain = DevChain(now=1_800_000_000)
    chain.give(address, 10 * NANO_PER_TON)
    chain.send(message)
    chain.now += 3600
    chain.make_block()

Everything is synchronous and depends on what was put in alone: the same calls with the same
times and seed give the same hashes, in any process. A message runs at once, with all that it
causes; `make_block` then puts it into a block, and only then do lite clients see it.

One workchain (0), not split. Not here: the masterchain's own contracts, tick-tock and
scheduled transactions, extra currencies.
"""

from collections import deque
from collections.abc import Callable, Mapping
from hashlib import sha256

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.devchain.account import Account, no_account, read_account
from cocoon_p2p.payments.devchain.augmap import Tree, items, put, total_weight
from cocoon_p2p.payments.devchain.blocks import WORKCHAIN, BlockMaker, BlockPair, Step, ValueFlow
from cocoon_p2p.payments.devchain.clock import MovableClock
from cocoon_p2p.payments.devchain.config import local_config
from cocoon_p2p.payments.devchain.history import History, Limits, PastTransaction
from cocoon_p2p.payments.devchain.layouts import ACCOUNTS, key_of
from cocoon_p2p.payments.devchain.messages import AccountId, Envelope, internal_message, read_envelope
from cocoon_p2p.payments.devchain.methods import MethodResult, method_id
from cocoon_p2p.payments.devchain.moment import Moment
from cocoon_p2p.payments.devchain.native import NativeCell, from_boc, to_boc
from cocoon_p2p.payments.devchain.open_block import OpenBlock
from cocoon_p2p.payments.devchain.snapshot import Snapshot, from_outlines, outline
from cocoon_p2p.payments.devchain.tvm import Transaction, Tvm

FAUCET = AccountId(b"local chain: money from nowhere!")
"Where the faucet's money says it comes from. It is an address like any other, and nobody's."

_LT_STEP = 1_000_000
"Every block's logical time begins at a multiple of this."


class DevChain:
    """A network of one shard. Not for more than one thread at a time."""

    def __init__(
        self,
        *,
        now: int,
        clock: Callable[[], float] | None = None,
        seed: bytes = bytes(32),
        config: bytes | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Begin a chain, with no accounts and one block.

        Args:
            now: The chain's time, in seconds since the Unix epoch.
            clock: Seconds since any moment. If it is given, the chain's time runs along with it from `now`
                on; if not, it stands still until it is moved.
            seed: 32 bytes, from which every block's seed is made, and contracts' random numbers.
            config: The network's configuration, a bag of cells; `local_config()` if None.
            limits: What it remembers, and how long it works at one go.

        Raises:
            MalformedMessage: `config` is no configuration.
            ConfigurationError: tonpy is not installed.
        """
        self.tvm = Tvm(local_config() if config is None else config)
        self.limits = limits or Limits()
        self.history = History(self.limits)
        self._maker = BlockMaker(self.tvm.config.global_id, self.tvm.config.root)
        self._seed = seed
        self._clock = MovableClock(now, clock)
        self._was_moved = False
        self._watchers: list[Callable[[], None]] = []
        self._libraries: dict[bytes, bytes] = {}
        self._no_account = no_account()
        self._waiting: deque[NativeCell] = deque()
        self._begin(None)
        self.make_block()

    @property
    def global_id(self) -> int:
        """The network's id, which contracts read as GLOBALID."""
        return self.tvm.config.global_id

    @property
    def now(self) -> int:
        """The chain's time, in seconds since the Unix epoch. It may be moved, but only forward."""
        return self._clock.now

    @now.setter
    def now(self, now: int) -> None:
        self._clock.move(now)
        self._was_moved = True
        self._tell_watchers()

    @property
    def watchers(self) -> tuple[Callable[[], None], ...]:
        return tuple(self._watchers)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have `watcher` called after everything that changes the chain. It must not change it itself."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        self._watchers.remove(watcher)

    def _tell_watchers(self) -> None:
        for watcher in self._watchers:
            watcher()

    _open: OpenBlock

    @property
    def last(self) -> BlockPair:
        """The last blocks made."""
        return self.history.last

    @property
    def is_block_due(self) -> bool:
        """Whether something ran, or waits to run, that is in no block yet; or the time was moved."""
        return bool(self._open.transactions or self._waiting or self._was_moved)

    def account(self, address: AccountId) -> Account:
        """Give an account as it stands now, what is in no block yet included."""
        return self._open.account(address)

    def get_method(self, address: AccountId, method: str | int, stack: bytes = b"") -> MethodResult:
        """Run a get-method on an account as it stands now.

        Args:
            address: The contract.
            method: Its name, or its number.
            stack: The arguments (`VmStack`), a bag of cells; no bytes for none.

        Raises:
            MalformedMessage: The stack cannot be read, or what the method left cannot be written.
        """
        number = method_id(method) if isinstance(method, str) else method
        moment = Moment(self.now, self._open.start_lt, self._open.seed)
        return self.tvm.get_method(self.account(address), address, number, stack, moment)

    def send(self, message: bytes) -> tuple[Transaction, ...]:
        """Run an external message and what it causes, as a network does with what wallets send.

        Returns:
            What ran, in order. All of it is in the next block. After `Limits.cascade` transactions the
            rest waits for that block to be made.

        Raises:
            MessageRejected: The contract did not accept the message; nothing has changed.
            MalformedMessage: It is no external message to an account of workchain 0 that can run one;
                nothing has changed.
        """
        cell, envelope = _read(message)
        if not envelope.is_external:
            raise MalformedMessage("not an external message")
        return self._run(cell, envelope)

    def deliver(self, message: bytes) -> tuple[Transaction, ...]:
        """Run an internal message of the caller's own making, its money made out of nothing.

        Returns as `send`.

        Raises:
            MalformedMessage: It is no internal message to an account of workchain 0; nothing has changed.
        """
        cell, envelope = _read(message)
        if envelope.is_external:
            raise MalformedMessage("not an internal message")
        done = self._run(cell, envelope)
        self._open.minted += envelope.value + envelope.forward_fee
        return done

    def give(
        self,
        address: AccountId,
        amount: int,
        *,
        body: bytes | None = None,
        init: bytes | None = None,
        bounce: bool = False,
        source: AccountId = FAUCET,
    ) -> tuple[Transaction, ...]:
        """Give an account money out of nothing, in a message that may say and deploy something.

        Args:
            address: Who gets it.
            amount: In nanoTON.
            body: What the message says, a bag of cells.
            init: What the account is deployed with if it is not yet; see `state_init`.
            bounce: Whether the money goes back to `source` if the account fails to take it.
            source: Who the account is told that it comes from.

        Returns and raises as `deliver`.
        """
        return self.deliver(internal_message(source, address, amount, body=body, init=init, bounce=bounce))

    def add_library(self, code: bytes) -> bytes:
        """Make code public, so that library cells can refer to it by its hash, which is returned."""
        name = read_one(code).hash
        self._libraries[name] = code
        self.tvm.set_libraries(self._libraries)
        return name

    @property
    def libraries(self) -> Mapping[bytes, bytes]:
        """The public libraries: each one's bag of cells under its hash."""
        return self._libraries

    def make_block(self) -> BlockPair:
        """Close the block that is being filled, empty as it may be, and begin the next."""
        self._run_waiting(self.limits.cascade)
        return self._close()

    def _close(self) -> BlockPair:
        block = self._open
        accounts = block.accounts()
        step = Step(
            now=self.now,
            start_lt=block.start_lt,
            end_lt=block.lt,
            seed=block.seed,
            accounts=accounts,
            changes=block.changes(),
            flow=block.flow(accounts, self._money_waiting()),
        )
        pair = self._maker.make(self.last if self.history else None, step)
        self.history.add_pair(pair)
        for transaction in block.transactions:
            self.history.add_transaction(PastTransaction(transaction, pair.shard.id))
        self._begin(pair)
        self._was_moved = False
        self._tell_watchers()
        return pair

    def _begin(self, last: BlockPair | None) -> None:
        """Begin the block after `last`."""
        seqno = 0 if last is None else last.shard.id.seqno + 1
        start_lt = _LT_STEP if last is None else (last.shard.end_lt // _LT_STEP + 1) * _LT_STEP
        self._open = OpenBlock(
            before=None if last is None else last.accounts,
            no_account=self._no_account,
            start_lt=start_lt,
            lt=start_lt,
            seed=self._block_seed(seqno),
            imported=self._money_waiting(),
        )

    def _block_seed(self, seqno: int) -> bytes:
        return sha256(self._seed + seqno.to_bytes(4, "big")).digest()

    def _money_waiting(self) -> int:
        return sum(_money_in(message) for message in self._waiting)

    def snapshot(self) -> Snapshot:
        """Give all that is needed to go on elsewhere. Closes the block, and puts an empty one on top."""
        before_last = self.make_block()
        last = self._close()
        return Snapshot(
            now=self.now,
            seed=self._seed,
            config=self.tvm.config.boc,
            libraries=tuple(self._libraries.values()),
            accounts=tuple(
                (AccountId(key.to_bytes(32, "big")), to_boc(account.shard_account))
                for key, account in items(last.accounts)
            ),
            waiting=tuple(to_boc(message) for message in self._waiting),
            transactions=tuple(self.history.all_transactions()),
            first=self.history.first,
            before_last=(outline(before_last.shard), outline(before_last.master)),
            last=(outline(last.shard), outline(last.master)),
        )

    @classmethod
    def restored(
        cls, snapshot: Snapshot, *, clock: Callable[[], float] | None = None, limits: Limits | None = None
    ) -> "DevChain":
        """Go on from a snapshot. Of the blocks only the last is known, of the transactions all that were.

        Raises:
            MalformedMessage: The snapshot is damaged: the accounts in it do not hash to its last block.
        """
        chain = cls(now=snapshot.now, clock=clock, seed=snapshot.seed, config=snapshot.config, limits=limits)
        chain._resume(snapshot)
        return chain

    def _resume(self, snapshot: Snapshot) -> None:
        for code in snapshot.libraries:
            self.add_library(code)
        accounts: Tree[Account] | None = None
        for address, shard_account in snapshot.accounts:
            accounts = put(ACCOUNTS, accounts, key_of(address), read_account(from_boc(shard_account)))
        self._waiting = deque(from_boc(message) for message in snapshot.waiting)
        shard, master = snapshot.last
        waiting, held = self._money_waiting(), total_weight(accounts)
        step = Step(
            now=shard.utime,
            start_lt=shard.start_lt,
            end_lt=shard.end_lt,
            seed=self._block_seed(shard.id.seqno),
            accounts=accounts,
            changes=None,
            flow=ValueFlow(before=held, after=held, imported=waiting, exported=waiting),
        )
        pair = self._maker.make(from_outlines(*snapshot.before_last), step)
        if (pair.shard.id, pair.master.id) != (shard.id, master.id):
            raise MalformedMessage("the saved accounts do not hash to the saved block")
        self.history = History(self.limits, first=snapshot.first)
        self.history.add_pair(pair)
        for past in snapshot.transactions:
            self.history.add_transaction(past)
        self._begin(pair)

    def _run(self, message: NativeCell, envelope: Envelope) -> tuple[Transaction, ...]:
        """Run a message from outside, and then what waits. Raises only if the first does not run."""
        begun = len(self._open.transactions)
        self._execute(message, envelope)
        self._run_waiting(self.limits.cascade - 1)
        self._tell_watchers()
        return tuple(self._open.transactions[begun:])

    def _execute(self, message: NativeCell, envelope: Envelope) -> None:
        block = self._open
        account = block.account(envelope.destination)
        moment = Moment(self.now, block.lt + 1, block.seed)
        executed = self.tvm.transaction(account, message, moment)
        block.add(account, executed, envelope.forward_fee)
        self._waiting += executed.out_messages

    def _run_waiting(self, count: int) -> None:
        """Run messages that contracts sent, `count` at most."""
        while self._waiting and count:
            message = self._waiting.popleft()
            envelope = read_envelope(message)
            if envelope is None:
                continue
            try:
                if envelope.workchain != WORKCHAIN:
                    raise MalformedMessage("only workchain 0 is here")
                self._execute(message, envelope)
            except MalformedMessage:
                # No contract's doing may stop the chain.
                self._open.lost += envelope.value + envelope.forward_fee
            count -= 1


def _read(message: bytes) -> tuple[NativeCell, Envelope]:
    cell = from_boc(message)
    envelope = read_envelope(cell)
    if envelope is None or envelope.workchain != WORKCHAIN:
        raise MalformedMessage("not a message to an account of workchain 0")
    return cell, envelope


def _money_in(message: NativeCell) -> int:
    envelope = read_envelope(message)
    return 0 if envelope is None else envelope.value + envelope.forward_fee
