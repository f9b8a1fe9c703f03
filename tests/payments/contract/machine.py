"""Everything that can be done to a channel, in any order, held against the model to the nanoton.

Whatever was signed once is kept and shown again, in later lives of the channel too.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cocoon_p2p.payments import contract
from cocoon_p2p.payments.contract import ATTACHED_MIN, STORAGE_RESERVE
from cocoon_p2p.protocols.messages import CloseTerms
from tests.payments.contract.model import (
    DONE,
    FLOOR,
    Channel,
    Claim,
    Close,
    ExternalClaim,
    FinishClose,
    Holder,
    Operation,
    StartClose,
    TopUp,
    foretell,
)
from tests.payments.contract.scene import (
    ATTACHED,
    DELAY,
    PAYEE,
    PAYEE_SECRET,
    PAYER,
    PAYER_SECRET,
    STRANGER,
    TON,
    Nano,
    Scene,
    Step,
    bulky,
)

TOTAL_MAX = 2**63 - 1
MONTH_SECONDS = 30 * 24 * 3600
BOTH = (PAYER_SECRET, PAYEE_SECRET)


class Anchor(Enum):
    """What a total may be near to: where contracts are most likely to go wrong."""

    NOTHING = 0
    CLAIMED = 1
    AVAILABLE = 2
    "All that a claim can take."

    FLOOR = 3
    "The least that an external claim must bring."

    POT = 4
    "All that there is when a close comes in, what it attached included."


class Flaw(Enum):
    """What may be wrong with a message; one thing at a time, or nothing would get far."""

    KEY = 1
    ATTACHED = 2
    EXPIRED = 3
    BULKY = 4
    HIDDEN = 5
    "Signed, and kept back for later."


deposits = st.integers(STORAGE_RESERVE, 12 * TON)
people = st.sampled_from([PAYER, PAYEE, STRANGER])
enough = st.sampled_from([ATTACHED, ATTACHED_MIN, TON])
amounts = st.one_of(st.integers(1, 16 * TON), st.sampled_from([1, 10 * TON])).map(
    lambda amount: (Anchor.NOTHING, amount)
)
claim_totals = st.one_of(
    amounts,
    st.tuples(st.sampled_from([Anchor.CLAIMED, Anchor.AVAILABLE]), st.sampled_from([-TON, -1, 0, 1, TON])),
    st.tuples(st.just(Anchor.FLOOR), st.sampled_from([-1, 0, 1])),
)
close_totals = st.one_of(
    amounts,
    st.tuples(st.just(Anchor.CLAIMED), st.sampled_from([-TON, -1, 0, 1, TON])),
    st.tuples(st.just(Anchor.POT), st.sampled_from([-ATTACHED_MIN, -1, 0, 1, TOTAL_MAX])),
    st.tuples(st.just(Anchor.POT), st.sampled_from([-1, 0, 1]).map(lambda gap: gap - ATTACHED_MIN)),
)
claim_flaws = st.sampled_from([None, None, None, Flaw.KEY, Flaw.ATTACHED, Flaw.BULKY, Flaw.HIDDEN])
close_flaws = st.sampled_from([None, None, None, Flaw.KEY, Flaw.ATTACHED, Flaw.EXPIRED, Flaw.HIDDEN])
wrong_keys = st.sampled_from([BOTH[::-1], (PAYER_SECRET, PAYER_SECRET), (PAYEE_SECRET, PAYEE_SECRET)])


@dataclass(frozen=True)
class Paper:
    """A voucher that was signed."""

    epoch: int
    total: int
    signature: bytes
    is_good: bool


@dataclass(frozen=True)
class Agreement:
    """Close terms, and who signed them as payer and as payee."""

    terms: CloseTerms
    secrets: tuple[bytes, bytes]


class ChannelMachine(RuleBasedStateMachine):
    """Money is conserved, the payee gets all that its best voucher gives, nobody gets what is not theirs."""

    code: ClassVar[bytes | None] = None
    "Another contract to try: a planted fault."

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene(code=self.code)
        self.channel = Channel()
        self.vouchers: list[Paper] = []
        self.agreements: list[Agreement] = []

    # Each message is sent within these two.

    def found(self) -> Channel:
        """Give the channel as the next message will find it: what it stored until now is paid."""
        storage = self.scene.storage_due() if self.channel.is_active else 0
        return replace(self.channel, deposit=self.channel.deposit - storage)

    def check(self, found: Channel, operation: Operation, step: Step) -> None:
        """Hold what came of a message against what was foretold."""
        foretold = foretell(found, operation, self.scene.chain.now)
        assert step.exit == foretold.exit
        self.channel = foretold.after
        if step.rejected is not None:
            # No transaction, so storage is still to be paid.
            self.channel = replace(self.channel, deposit=step.before)
            assert step.after == step.before
            return
        assert step.before - step.storage_fee == found.deposit
        assert step.done == (foretold.exit == DONE)
        parts = {Holder.PAYEE: foretold.payee, Holder.PAYER: foretold.payer}
        parts |= {Holder.CHANNEL: foretold.after.deposit, Holder.SENDER: 0}
        parts[foretold.bearer] -= step.cost
        if step.done:
            assert (step.to(PAYEE), step.to(PAYER)) == (parts[Holder.PAYEE], parts[Holder.PAYER])
        else:
            assert [payment.is_bounce for payment in step.payments] == [True]
        assert step.after == parts[Holder.CHANNEL]
        self.channel = replace(self.channel, deposit=step.after)

    def total_near(self, anchored: tuple[Anchor, int], attached: int) -> int:
        anchor, delta = anchored
        found = self.found()
        start = {
            Anchor.NOTHING: 0,
            Anchor.CLAIMED: found.claimed,
            Anchor.AVAILABLE: found.claimed + found.deposit - STORAGE_RESERVE,
            Anchor.FLOOR: found.claimed + FLOOR,
            Anchor.POT: found.claimed + found.deposit + attached,
        }[anchor]
        return min(max(0, start + delta), TOTAL_MAX)

    # Opening

    @initialize(amount=deposits, is_bad=st.sampled_from([False, False, False, True]))
    def begin(self, amount: int, is_bad: bool) -> None:
        self.deploy(amount, is_empty=False, is_bad=is_bad)

    @precondition(lambda self: not self.channel.is_active)
    @rule(amount=deposits, is_empty=st.booleans(), is_bad=st.sampled_from([False, False, True]))
    def deploy(self, amount: int, is_empty: bool, is_bad: bool) -> None:
        if is_bad:
            # A deploying message that fails and does not bounce: an account with money that is not open.
            step = self.scene.tell(amount, contract.start_close(), deploy=True, bounce=False)
            assert not step.done
            self.channel = Channel(is_active=True, deposit=amount - step.cost)
            return
        step = self.scene.deploy(amount, None if is_empty else contract.top_up())
        epoch = step.transactions[0].lt
        assert all(epoch > paper.epoch for paper in self.vouchers)
        self.check(Channel(is_active=True), TopUp(amount, epoch), step)

    @rule(amount=st.integers(3_000_000, 3 * TON), source=people, is_empty=st.booleans())
    def top_up(self, amount: int, source, is_empty: bool) -> None:
        found = self.found()
        step = self.scene.tell(amount, None if is_empty else contract.top_up(), source)
        self.check(found, TopUp(amount, step.transactions[0].lt), step)

    # Claims

    @precondition(lambda self: self.channel.is_active)
    @rule(anchored=claim_totals, flaw=claim_flaws, attached=enough, source=people, is_external=st.booleans())
    def sign_and_claim(self, anchored, flaw: Flaw | None, attached: int, source, is_external: bool) -> None:
        secret = PAYEE_SECRET if flaw is Flaw.KEY else PAYER_SECRET
        total, epoch = self.total_near(anchored, attached), self.channel.epoch
        signature = self.scene.voucher(total, epoch=epoch, secret=secret)
        paper = Paper(epoch, total, signature, is_good=flaw is not Flaw.KEY)
        self.vouchers.append(paper)
        self.claim(paper, flaw, attached, source, is_external)

    @precondition(lambda self: self.vouchers)
    @rule(data=st.data(), attached=enough, source=people, is_external=st.booleans())
    def claim_again(self, data, attached: int, source, is_external: bool) -> None:
        self.claim(data.draw(st.sampled_from(self.vouchers)), None, attached, source, is_external)

    @precondition(lambda self: self.channel.is_active and self.vouchers)
    @rule(data=st.data(), raised=st.sampled_from([1, TON]), is_external=st.booleans())
    def forge_a_voucher(self, data, raised: int, is_external: bool) -> None:
        """Show a signature with a total that it is not over."""
        paper = data.draw(st.sampled_from(self.vouchers))
        total = paper.total + (raised if paper.total + raised <= TOTAL_MAX else -raised)
        self.claim(replace(paper, total=total, is_good=False), None, ATTACHED, PAYEE, is_external)

    def claim(self, paper: Paper, flaw: Flaw | None, attached: int, source, is_external: bool) -> None:
        if flaw is Flaw.HIDDEN:
            return
        found = self.found()
        is_good = paper.is_good and paper.epoch == found.epoch
        if not is_external and flaw is not Flaw.BULKY:
            attached = ATTACHED_MIN - 1 if flaw is Flaw.ATTACHED else attached
            step = self.scene.claim(paper.total, paper.signature, attached=attached, source=source)
            self.check(found, Claim(paper.total, is_good, attached), step)
        elif found.is_active:
            # Nothing runs where there is no contract.
            message = contract.external_claim(self.scene.channel, Nano(paper.total), paper.signature)
            if flaw is Flaw.BULKY:
                message = bulky(message, "body in a reference", self.scene.init)
            step = self.scene.submit(message)
            self.check(found, ExternalClaim(paper.total, is_good, flaw is Flaw.BULKY), step)

    # Closing

    @precondition(lambda self: self.channel.is_active)
    @rule(
        anchored=close_totals,
        flaw=close_flaws,
        valid=st.sampled_from([DELAY, 60, 0]),
        attached=enough,
        source=people,
        wrong=wrong_keys,
    )
    def sign_and_close(self, anchored, flaw: Flaw | None, valid: int, attached: int, source, wrong) -> None:
        valid = -1 if flaw is Flaw.EXPIRED else valid
        attached = ATTACHED_MIN - 1 if flaw is Flaw.ATTACHED else attached
        total = self.total_near(anchored, attached)
        terms = self.scene.terms(total, valid=valid, epoch=self.channel.epoch)
        agreement = Agreement(terms, wrong if flaw is Flaw.KEY else BOTH)
        self.agreements.append(agreement)
        if flaw is not Flaw.HIDDEN:
            self.close(agreement, total, terms.valid_until, attached, source)

    @precondition(lambda self: self.agreements)
    @rule(data=st.data(), source=people)
    def close_again(self, data, source) -> None:
        agreement = data.draw(st.sampled_from(self.agreements))
        self.close(agreement, agreement.terms.total, agreement.terms.valid_until, ATTACHED, source)

    @precondition(lambda self: self.channel.is_active and self.agreements)
    @rule(data=st.data(), lowered=st.sampled_from([0, TON]), later=st.sampled_from([0, DELAY]))
    def forge_close_terms(self, data, lowered: int, later: int) -> None:
        """Show two signatures with a total or a time that they are not over."""
        agreement = data.draw(st.sampled_from(self.agreements))
        valid_until = max(agreement.terms.valid_until, self.scene.chain.now) + later
        self.close(agreement, max(0, agreement.terms.total - lowered), valid_until, ATTACHED, PAYER)

    def close(self, agreement: Agreement, total: int, valid_until: int, attached: int, source) -> None:
        found, terms = self.found(), agreement.terms
        is_same = (total, valid_until, found.epoch) == (terms.total, terms.valid_until, terms.epoch)
        step = self.scene.close(
            total,
            terms=terms,
            valid_until=valid_until,
            secrets=agreement.secrets,
            attached=attached,
            source=source,
        )
        self.check(found, Close(total, valid_until, is_same and agreement.secrets == BOTH, attached), step)

    @precondition(lambda self: self.channel.is_active)
    @rule(source=st.sampled_from([PAYER, PAYER, PAYER, PAYEE, STRANGER]))
    def start_close(self, source) -> None:
        found = self.found()
        self.check(found, StartClose(source is PAYER, ATTACHED), self.scene.start_close(source))

    @precondition(lambda self: self.channel.is_active)
    @rule(source=people, attached=st.one_of(enough, st.just(ATTACHED_MIN - 1)))
    def finish_close(self, source, attached: int) -> None:
        found = self.found()
        self.check(found, FinishClose(attached), self.scene.finish_close(source, attached=attached))

    @rule(seconds=st.one_of(st.integers(1, DELAY), st.integers(1, MONTH_SECONDS)))
    def wait(self, seconds: int) -> None:
        self.scene.chain.now += seconds

    @precondition(lambda self: self.channel.close_at > self.scene.chain.now)
    @rule(early=st.sampled_from([0, 0, 1]))
    def wait_for_the_delay(self, early: int) -> None:
        self.scene.chain.now = self.channel.close_at - early

    @invariant()
    def the_contract_stores_what_the_model_knows(self) -> None:
        assert self.scene.is_active == self.channel.is_active
        if self.channel.is_active:
            state, known = self.scene.state, self.channel
            assert (state.epoch, state.close_at, state.claimed) == (
                known.epoch,
                known.close_at,
                known.claimed,
            )
            assert state.deployment == self.scene.deployment
