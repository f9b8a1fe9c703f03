"""Two honest ends, one of which is started again from a backup: from an older ledger than it had.

What was promised in the life that a ledger forgot cannot always be explained, so a payer may stop.
But no end promises or charges more than it may, books stay books, and where the payer goes on
both ends come to agree.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from cocoon_p2p.ledger import Side, audit
from cocoon_p2p.payments.books import name_of
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.testing.store import MemoryDisk
from tests.stateful.test_payments import GRANT, Payments, run


class OldLedgers(Payments):
    """However old a ledger is, nobody is charged beyond what was promised."""

    backup: MemoryDisk | None

    @initialize()
    def open(self) -> None:
        super().open()
        self.backup = None
        self.is_payers = self.is_restored = False

    @precondition(lambda self: self.backup is None and self.exchanges)
    @rule(is_payers=st.booleans())
    def a_backup_is_made(self, is_payers: bool) -> None:
        self.is_payers = is_payers
        store = self.payer_store if is_payers else self.payee_store
        self.backup = store.disk.copy()

    @precondition(lambda self: self.backup is not None and not self.is_restored)
    @rule()
    def the_backup_is_restored(self) -> None:
        assert self.backup is not None
        self.is_restored = True
        if self.is_payers:
            self.restart_payer(self.backup)
        else:
            self.restart_payee(self.backup)

    # What holds only for ends that remember everything.

    def a_voucher_is_on_the_payers_disk_before_the_payee_has_it(self) -> None: ...

    def nothing_is_delivered_beyond_credit(self) -> None: ...

    @invariant()
    def what_is_vouchered_never_shrinks_and_never_exceeds_capacity(self) -> None:
        if not self.is_restored:
            assert self.saved_before <= self.saved_by_payee
            self.saved_before = self.saved_by_payee
        assert self.saved_by_payee <= self.capacity
        assert self.payer.vouchered <= self.capacity

    @invariant()
    def two_honest_ends_never_stop(self) -> None:
        if not self.is_restored:
            assert self.payer.phase is not Phase.STOPPED

    @invariant()
    def no_charge_exceeds_what_was_promised(self) -> None:
        assert self.payer.charged <= self.payer.vouchered + GRANT + self.payer.held

    def teardown(self) -> None:
        if not hasattr(self, "payer"):
            return
        if not self.is_restored:
            super().teardown()
            return
        self.quiesce()
        for store in (self.payer_store, self.payee_store):
            assert audit(run(store.channels), run(store.lines)) == ()
        assert self.payee is not None
        row = self.payer_store.disk.channels[name_of(self.channel, Side.PAYER)]
        assert row.phase == Phase.STOPPED or self.payee.charged() <= self.payer.charged


OldLedgers.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOldLedgers = pytest.mark.slow(OldLedgers.TestCase)
