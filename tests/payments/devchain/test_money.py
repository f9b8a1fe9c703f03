"""No nanoTON comes from anywhere but the faucet, and none is gone but to validators or other workchains."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.devchain import AccountId, DevChain, Limits, MessageRejected, external_message
from cocoon_p2p.payments.devchain.augmap import items
from cocoon_p2p.payments.devchain.blocks import BlockPair
from cocoon_p2p.payments.devchain.clock import TIME_MAX
from cocoon_p2p.units import NANO_PER_TON
from tests.payments.devchain.bait import (
    ACCEPTED,
    AGAIN,
    LOOP,
    NOTE,
    STRANGER,
    THROW,
    bait,
    say,
    say_destroy,
    say_send,
)

# Early, so that decades can pass.
BEGAN = 1_000_000_000

BAITS = [bait(salt) for salt in range(3)]
CONTRACTS = [address for address, _ in BAITS]
PLACES = [*CONTRACTS, STRANGER, AccountId(bytes(32))]

contracts = st.sampled_from(CONTRACTS)
places = st.sampled_from(PLACES)
amounts = st.sampled_from([0, 1, 1000, NANO_PER_TON // 100, NANO_PER_TON // 5])
# Plain; fees apart; failures ignored; the rest of what came; all there is; and the account with it.
modes = st.sampled_from([0, 1, 2, 64, 128, 128 + 32, 16])


class Money(RuleBasedStateMachine):
    """However money moves, what the faucet gave is in accounts, in messages, with validators, or away."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = DevChain(now=BEGAN, limits=Limits(cascade=40))
        self.given = self.taken = self.gone = 0
        self.last = self.chain.last

    @rule(number=st.integers(0, len(BAITS) - 1), amount=amounts, bounce=st.booleans())
    def deploy(self, number: int, amount: int, bounce: bool) -> None:
        address, init = BAITS[number]
        self.give(address, amount, init=init, bounce=bounce)

    @rule(to=places, amount=amounts, source=places, bounce=st.booleans())
    def transfer(self, to: AccountId, amount: int, source: AccountId, bounce: bool) -> None:
        self.give(to, amount, source=source, bounce=bounce)

    @rule(contract=contracts, amount=amounts, op=st.sampled_from([THROW, NOTE, LOOP, AGAIN]), source=places)
    def provoke(self, contract: AccountId, amount: int, op: int, source: AccountId) -> None:
        self.give(contract, amount, body=say(op), source=source, bounce=True)

    @rule(
        contract=contracts,
        amount=amounts,
        to=places,
        sent=amounts,
        times=st.integers(0, 3),
        mode=modes,
        workchain=st.sampled_from([0, 0, 0, -1]),
        bounce=st.booleans(),
    )
    def send_on(
        self,
        contract: AccountId,
        amount: int,
        to: AccountId,
        sent: int,
        times: int,
        mode: int,
        workchain: int,
        bounce: bool,
    ) -> None:
        body = say_send(to, sent, times=times, mode=mode, bounce=bounce, workchain=workchain)
        self.give(contract, amount, body=body, bounce=True)

    @rule(contract=contracts, heir=places, amount=amounts)
    def destroy(self, contract: AccountId, heir: AccountId, amount: int) -> None:
        self.give(contract, amount, body=say_destroy(heir))

    @rule(contract=contracts, op=st.sampled_from([ACCEPTED, 8]))
    def from_outside(self, contract: AccountId, op: int) -> None:
        try:
            self.chain.send(external_message(contract, say(op)))
        except (MessageRejected, MalformedMessage):
            return

    @rule(seconds=st.sampled_from([1, 86_400, 5 * 366 * 86_400]))
    def wait(self, seconds: int) -> None:
        # Years bring debts for storage, frozen accounts and deleted ones.
        self.chain.now = min(self.chain.now + seconds, TIME_MAX)

    @rule()
    def make_block(self) -> None:
        self.count(self.chain.make_block())

    def give(
        self,
        to: AccountId,
        amount: int,
        *,
        body: bytes | None = None,
        init: bytes | None = None,
        source: AccountId = STRANGER,
        bounce: bool = False,
    ) -> None:
        self.chain.give(to, amount, body=body, init=init, source=source, bounce=bounce)
        self.given += amount

    def count(self, pair: BlockPair) -> None:
        flow = pair.flow
        assert flow.before + flow.imported + flow.minted == flow.after + flow.exported + flow.fees
        assert flow.before == (self.last.accounts.weight if self.last.accounts else 0)
        assert flow.imported <= self.last.flow.exported
        self.taken += flow.fees
        # What an earlier block left waiting came back in; what did not has left for good.
        self.gone += self.last.flow.exported - flow.imported
        self.last = pair

    @invariant()
    def what_accounts_hold_is_what_the_dictionary_weighs(self) -> None:
        accounts = self.last.accounts
        assert sum(account.balance for _, account in items(accounts)) == (accounts.weight if accounts else 0)

    def teardown(self) -> None:
        while self.chain.is_block_due:
            self.count(self.chain.make_block())
        self.count(self.chain.make_block())
        self.count(self.chain.make_block())

        held = sum(self.chain.account(address).balance for address in PLACES)
        assert self.last.flow.exported == 0
        assert self.given == held + self.taken + self.gone


@pytest.mark.slow
def test_money_is_conserved_to_the_nanoton() -> None:
    run_state_machine_as_test(
        Money, settings=settings(max_examples=100, stateful_step_count=30, deadline=None)
    )
