"""A channel on a local chain, those who send it messages, and where every nanoTON went.

Wallets here are bare accounts: money leaves them by a message that says it is from them, made out of
nothing, and arrives as on any chain. After each step all money is counted: what was put in must be in
the accounts or have gone to the validators, to the nanoton.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import pytest
from nacl import bindings
from pytoniq_core import Cell
from pytoniq_core.tlb.account import Account
from pytoniq_core.tlb.transaction import Transaction as Parsed

from cocoon_p2p.payments import contract
from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder, Slice
from cocoon_p2p.payments.close_terms import sign_close_terms
from cocoon_p2p.payments.contract import AccountId, ContractState, Deployment, Notice, read_notice
from cocoon_p2p.payments.devchain import LOCAL_GLOBAL_ID, DevChain, MessageRejected, Status, internal_message
from cocoon_p2p.payments.devchain import Transaction as Ran
from cocoon_p2p.payments.devchain.config import STORAGE
from cocoon_p2p.payments.voucher import sign_voucher
from cocoon_p2p.protocols.messages import ChannelId, CloseTerms
from cocoon_p2p.units import NANO_PER_TON as TON
from cocoon_p2p.units import Nano

pytest.importorskip(
    "tonpy", reason="tonpy is missing: `make test` installs it from the lock where it has a wheel"
)

NOW = 1_800_000_000
DELAY = 600
QUERY = 0x1122334455667788
ATTACHED = 50_000_000
STORAGE_SECONDS = 1 << 16
"Storage is priced by this span."
PAYER, PAYEE, STRANGER = (AccountId(mark * 32) for mark in (b"\xaa", b"\xbb", b"\xcc"))
PAYER_KEY, PAYER_SECRET = bindings.crypto_sign_seed_keypair(b"A" * 32)
PAYEE_KEY, PAYEE_SECRET = bindings.crypto_sign_seed_keypair(b"B" * 32)
DEPLOYMENT = Deployment(LOCAL_GLOBAL_ID, PAYER, PAYEE, PAYER_KEY, PAYEE_KEY, DELAY, b"salt" * 4)


_HEAD_BITS = 4 + 3 + 8 + 256 + 4
"An external message up to where it says whether a StateInit follows."


@dataclass(frozen=True)
class Payment:
    """A message that an account sent, with money."""

    to: AccountId
    value: int
    road: int
    "What is left of its forwarding fee for the receiver's validators."

    notice: Notice | None
    is_bounce: bool


@dataclass(frozen=True)
class Step:
    """What one message to the channel came to."""

    before: int
    "The channel's balance before it, and after it."

    after: int
    transactions: tuple[Ran, ...] = ()
    rejected: int | None = None
    "An external message that was not accepted: the exit code."

    @cached_property
    def parsed(self) -> list[Parsed]:
        return [Parsed.deserialize(Cell.one_from_boc(one.boc).begin_parse()) for one in self.transactions]

    @property
    def exit(self) -> int | str:
        if self.rejected is not None:
            return self.rejected
        return getattr(self.parsed[0].description.compute_ph, "exit_code", "skipped")

    @property
    def done(self) -> bool:
        """Whether the contract did what it was told, every payment included."""
        return self.rejected is None and not self.parsed[0].description.aborted

    @property
    def action_code(self) -> int | None:
        """How making the payments ended: 0 if well."""
        action = self.parsed[0].description.action if self.parsed else None
        return action.result_code if action else None

    @property
    def gas(self) -> int:
        return getattr(self.parsed[0].description.compute_ph, "gas_used", 0)

    @property
    def gas_fee(self) -> int:
        return getattr(self.parsed[0].description.compute_ph, "gas_fees", 0)

    @property
    def storage_fee(self) -> int:
        """What storage cost the channel since its last transaction."""
        phase = self.parsed[0].description.storage_ph
        return 0 if phase is None else phase.storage_fees_collected

    @property
    def forward_fees(self) -> int:
        """What sending the channel's own messages cost."""
        action = self.parsed[0].description.action
        return (action.total_fwd_fees or 0) if action and action.success else 0

    @property
    def payments(self) -> list[Payment]:
        return [_payment(message) for message in self.parsed[0].out_msgs]

    def to(self, account: AccountId) -> int:
        """Give what the channel paid to an account; what bounced is not a payment."""
        return sum(one.value for one in self.payments if one.to == account and not one.is_bounce)

    @property
    def cost(self) -> int:
        """What the message cost: its gas, and sending what it caused."""
        return self.gas_fee + self.forward_fees

    @property
    def burnt(self) -> int:
        """What went to validators, of all that this message caused."""
        roads = (_payment(message).road for one in self.parsed for message in one.out_msgs)
        return sum(one.fees for one in self.transactions) + sum(roads)


def _payment(message) -> Payment:
    info = message.info
    body = read_one(message.body.to_boc())
    notice = read_notice(write_boc(body))
    return Payment(AccountId(info.dest.hash_part), info.value_coins, info.fwd_fee, notice, info.bounced)


class Scene:
    """One channel and its chain. `code` and any field of `DEPLOYMENT` can be another."""

    def __init__(self, *, code: bytes | None = None, chain: DevChain | None = None, **changes) -> None:
        self.chain = chain or DevChain(now=NOW)
        self.deployment = replace(DEPLOYMENT, **changes)
        init = read_one(contract.state_init(self.deployment))
        if code is not None:
            init = Builder().uint(0b00110, 5).reference(read_one(code)).reference(init.references[1]).cell()
        self.init = write_boc(init)
        self.channel = ChannelId(init.hash)
        self.accounts = {self.channel}
        self.minted = self.burnt = 0

    # What is

    @property
    def state(self) -> ContractState:
        """What the contract stores. It may be a planted fault's, so its code is not looked at."""
        data = self.chain.account(self.channel).data
        assert data is not None
        return contract.read_state(contract.code(), data)

    @property
    def is_active(self) -> bool:
        return self.chain.account(self.channel).status is Status.ACTIVE

    def balance(self, account: AccountId | ChannelId | None = None) -> int:
        return self.chain.account(account or self.channel).balance

    def storage_due(self) -> int:
        """Reckon what storage will cost the channel by now, from what the account says that it uses."""
        account = Account.deserialize(Cell.one_from_boc(self.chain.account(self.channel).state).begin_parse())
        used, seconds = account.storage_stat.used, self.chain.now - account.storage_stat.last_paid
        return -(-(used.bits * STORAGE.bit + used.cells * STORAGE.cell) * seconds // STORAGE_SECONDS)

    def ask(self, method: str) -> list[int]:
        """Run a get-method that leaves numbers."""
        result = self.chain.get_method(self.channel, method)
        assert result.exit_code == 0
        slice_ = Cell.one_from_boc(result.stack).begin_parse()
        depth = slice_.load_uint(24)
        numbers = []
        for _ in range(depth):
            rest = slice_.load_ref()
            kind = slice_.load_uint(8)
            if kind == 1:
                numbers.append(slice_.load_int(64))
            else:
                assert kind == 2
                slice_.skip_bits(7)
                numbers.append(slice_.load_int(257))
            slice_ = rest.begin_parse()
        return numbers[::-1]

    # Messages

    def tell(
        self, amount: int, body: bytes | None, source=PAYER, *, deploy: bool = False, bounce: bool = True
    ) -> Step:
        """Send an internal message with money."""
        message = internal_message(
            source, self.channel, amount, body=body, init=self.init if deploy else None, bounce=bounce
        )
        before = self.balance()
        transactions = self.chain.deliver(message)
        self.minted += amount
        return self._count(Step(before, self.balance(), transactions))

    def give(self, account: AccountId, amount: int, init: bytes | None = None) -> None:
        """Give another account money, and its contract if there is one."""
        before = self.balance()
        transactions = self.chain.give(account, amount, init=init)
        self.minted += amount
        self._count(Step(before, self.balance(), transactions))

    def submit(self, message: bytes) -> Step:
        """Send an external message."""
        before = self.balance()
        try:
            transactions = self.chain.send(message)
            step = Step(before, self.balance(), transactions)
        except MessageRejected as rejected:
            step = Step(before, self.balance(), rejected=rejected.exit_code)
        return self._count(step)

    def _count(self, step: Step) -> Step:
        """Count all money: none was made, and none is gone but to the validators."""
        self.accounts.update(one.address for one in step.transactions)
        self.burnt += step.burnt if step.transactions else 0
        held = sum(self.balance(account) for account in self.accounts)
        assert held + self.burnt == self.minted, (held, self.burnt, self.minted)
        return step

    # Operations

    def deploy(self, amount: int = 10 * TON, body: bytes | None = contract.top_up(QUERY)) -> Step:
        return self.tell(amount, body, deploy=True)

    def top_up(self, amount: int, source=PAYER) -> Step:
        return self.tell(amount, contract.top_up(QUERY), source)

    def voucher(self, total: int, *, epoch=None, channel=None, secret=PAYER_SECRET) -> bytes:
        """Sign a total as a voucher for this channel and epoch, if no others are named."""
        epoch = self.state.epoch if epoch is None else epoch
        return sign_voucher(secret, channel or self.channel, epoch, Nano(total))

    def claim(self, total: int, signature=None, *, attached=ATTACHED, source=PAYEE) -> Step:
        signature = signature or self.voucher(total)
        return self.tell(attached, contract.claim(Nano(total), signature, QUERY), source)

    def claim_externally(self, total: int, signature=None) -> Step:
        return self.submit(
            contract.external_claim(self.channel, Nano(total), signature or self.voucher(total))
        )

    def terms(self, total: int, *, valid=60, epoch=None, channel=None) -> CloseTerms:
        epoch = self.state.epoch if epoch is None else epoch
        return CloseTerms(channel or self.channel, epoch, total, self.chain.now + valid)

    def close(
        self,
        total: int,
        *,
        terms: CloseTerms | None = None,
        valid_until: int | None = None,
        secrets=(PAYER_SECRET, PAYEE_SECRET),
        attached=ATTACHED,
        source=PAYEE,
    ) -> Step:
        """Hand in both signatures over `terms`, with this total and, if not the terms', another time."""
        terms = terms or self.terms(total)
        payer_signature, payee_signature = (sign_close_terms(secret, terms) for secret in secrets)
        body = contract.close(
            Nano(total),
            terms.valid_until if valid_until is None else valid_until,
            payer_signature=payer_signature,
            payee_signature=payee_signature,
            query_id=QUERY,
        )
        return self.tell(attached, body, source)

    def start_close(self, source=PAYER) -> Step:
        return self.tell(ATTACHED, contract.start_close(QUERY), source)

    def finish_close(self, source=PAYER, *, attached=ATTACHED) -> Step:
        return self.tell(attached, contract.finish_close(QUERY), source)


def bulky(message: bytes, how: str, init: bytes) -> bytes:
    """Make the same external claim a message of more cells, which costs more to import."""
    slice_ = Slice(read_one(message))
    head = slice_.uint(_HEAD_BITS)
    no_init_body_in_place = slice_.uint(2)
    assert no_init_body_in_place == 0
    bits = slice_.bits_left
    root, body = Builder().uint(head, _HEAD_BITS), Builder().uint(slice_.uint(bits), bits)
    if how == "body in a reference":
        return write_boc(root.uint(0b01, 2).reference(body.cell()).cell())
    if how == "body with a reference":
        ballast = Builder().uint(0, 1000).cell()
        return write_boc(root.uint(0b00, 2).root_of(body.reference(ballast).cell()).cell())
    assert how == "with a StateInit"
    return write_boc(root.uint(0b11, 2).reference(read_one(init)).uint(0, 1).root_of(body.cell()).cell())


def opened(amount: int = 10 * TON, **changes) -> Scene:
    """Give a channel with a deposit of `amount` less what its opening cost."""
    scene = Scene(**changes)
    assert scene.deploy(amount).done
    return scene
