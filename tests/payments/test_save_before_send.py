"""Nothing leaves before what it depends on is on disk. The ledger here lands only what is waited for."""

from cocoon_p2p.ledger import ChannelRow, Side
from cocoon_p2p.payments import payee_stream
from cocoon_p2p.payments.books import Page, name_of
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.events import Accepted, VoucherDue
from cocoon_p2p.payments.outbox import Outbox
from cocoon_p2p.payments.party import Party
from cocoon_p2p.payments.payee import opened
from cocoon_p2p.payments.payer import Payer
from cocoon_p2p.payments.paying import PayingAccount
from cocoon_p2p.payments.receiving import ReceivingAccount
from cocoon_p2p.protocols.messages import Paper, PaperWanted, StateSigned
from cocoon_p2p.protocols.papers import encode_signed, sign
from cocoon_p2p.testing.memory import MemoryNetwork
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import Nano
from tests.payments.parties import (
    CHANNEL,
    CHANNEL_KEY,
    NETWORK,
    NOW,
    OFFER,
    ONE,
    PAYEE,
    PAYER,
    receipt,
    signed,
    state,
    voucher,
)
from tests.stateful.test_payments import begin_only

SIGNED_OFFER = encode_signed(sign(PAYER, NETWORK, OFFER))
GRANT = Nano(50)


def receiving() -> tuple[ReceivingAccount, Party, MemoryStore]:
    store = MemoryStore(lands_by_itself=False)
    party = Party(MemoryNetwork().transport(PAYEE), PAYEE, NETWORK, store, lambda: NOW)
    row = ChannelRow(name_of(CHANNEL, Side.PAYEE), PAYER.peer_id, SIGNED_OFFER, None, Phase.OPEN)
    account = ReceivingAccount(party, opened(CHANNEL, GRANT), Page(row, CHANNEL))
    account.is_connected = True
    return account, party, store


def paying() -> tuple[PayingAccount, MemoryStore]:
    store = MemoryStore(lands_by_itself=False)
    party = Party(MemoryNetwork().transport(PAYER), PAYER, NETWORK, store, lambda: NOW)
    row = ChannelRow(name_of(CHANNEL, Side.PAYER), PAYEE.peer_id, SIGNED_OFFER, CHANNEL_KEY.seed, Phase.OPEN)
    return PayingAccount(party, Payer(CHANNEL), Page(row, CHANNEL), ()), store


async def test_a_new_state_waits_for_its_charge() -> None:
    account, _, store = receiving()
    begin_only(account.charge(ONE, Nano(40), receipt(ONE, 40)))
    assert store.landed == 0

    (message,) = await account.outbox.take()

    assert isinstance(message, StateSigned)
    assert [row.charged for row in store.disk.channels.values()] == [40]


async def test_a_paper_that_is_asked_for_waits_for_its_charge() -> None:
    account, party, store = receiving()
    begin_only(account.charge(ONE, Nano(40), receipt(ONE, 40)))
    account.outbox = Outbox()
    await payee_stream.hear(account, party, PaperWanted(ONE))
    assert store.landed == 0

    (message,) = await account.outbox.take()

    assert message == Paper(ONE, receipt=receipt(ONE, 40))
    assert len(store.disk.exchanges) == 1


async def test_a_voucher_waits_for_its_own_write() -> None:
    account, store = paying()
    account.is_connected = True
    account.hold(ONE, Nano(100))
    account.apply(VoucherDue())
    assert store.landed == 0

    (message,) = await account.outbox.take()

    assert message == voucher(100)
    assert [row.vouchered for row in store.disk.channels.values()] == [100]


async def test_a_voucher_signed_for_a_stream_that_broke_waits_for_its_write_on_the_next_one() -> None:
    account, store = paying()
    accepted = Accepted(Nano(0), state(0, 0), signed(state(0, 0)), None)
    account.apply(accepted)
    await account.saved()
    account.hold(ONE, Nano(100))
    account.apply(VoucherDue())
    account.outbox, account.is_connected = Outbox(), True
    account.apply(accepted)
    assert [row.vouchered for row in store.disk.channels.values()] == [0]

    (message,) = await account.outbox.take()

    assert message == voucher(100)
    assert [row.vouchered for row in store.disk.channels.values()] == [100]
