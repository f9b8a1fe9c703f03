"""How a payer's effects are carried out: as changes of its page in the ledger, and as messages.

Whatever is signed is signed here, and the same way every time: an effect that is carried out twice
gives the same bytes.
"""

import logging
from typing import assert_never

from nacl import bindings

from cocoon_p2p.ledger import Change
from cocoon_p2p.payments.books import Page
from cocoon_p2p.payments.channel import Channel
from cocoon_p2p.payments.close_terms import sign_close_terms
from cocoon_p2p.payments.events import (
    PayerSave,
    PayerSend,
    SaveBacking,
    SaveBegun,
    SaveBroken,
    SaveCharge,
    SaveClosed,
    SaveRecovered,
    SaveReleased,
    SaveReopened,
    SaveSettled,
    SaveState,
    SaveStopped,
    SaveVoucher,
    SendCloseAgreed,
    SendCloseWanted,
    SendRefused,
    SendVoucher,
    SignTerms,
    SignVoucher,
)
from cocoon_p2p.payments.party import Party
from cocoon_p2p.payments.voucher import sign_voucher
from cocoon_p2p.protocols.messages import (
    ChannelRefused,
    CloseAgreed,
    CloseTerms,
    CloseWanted,
    Signed,
    Voucher,
)
from cocoon_p2p.protocols.papers import sign
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)


class PayerEffects:
    """One channel's page in a payer's ledger, and the keys to sign for it."""

    def __init__(self, party: Party, page: Page, channel: Channel) -> None:
        assert page.row.seed is not None, "a payer's row has the channel key's seed"
        self._party = party
        self._page = page
        self._is_backed = channel.deployment is not None
        self._secret = bindings.crypto_sign_seed_keypair(page.row.seed)[1]

    def changes(self, effect: PayerSave) -> tuple[Change, ...]:
        """Say what to write; the page counts on its being handed over."""
        page, at = self._page, self._party.at
        match effect:
            case SaveBegun():
                return page.begin(effect, at)
            case SaveBroken():
                return page.broke(effect, at)
            case SaveCharge():
                return page.charge(effect, at)
            case SaveReleased():
                return page.release(effect.exchange)
            case SaveRecovered():
                log.warning("our ledger is an older one", extra=self._facts(rise=effect.rise))
                return page.recover(effect, at)
            case SignVoucher():
                return page.voucher(self._voucher(effect.total), at)
            case SaveVoucher():
                return page.voucher(effect.voucher, at)
            case SaveState():
                return page.state(effect.paper)
            case SaveStopped():
                log.error("payments stopped", extra=self._facts(reason=effect.reason))
                return page.stop(effect, at)
            case SignTerms():
                ours = page.terms(self._sign(effect.terms))
                return (
                    ours if effect.theirs is None else (*ours, *page.close(effect.terms, effect.theirs, at))
                )
            case SaveClosed():
                return page.close(effect.terms, effect.theirs, at)
            case SaveBacking():
                return page.back(effect, at)
            case SaveSettled():
                log.info("channel settled", extra=self._facts(total=effect.total))
                return page.settle(effect.total, at)
            case SaveReopened():
                return page.reopen()
            case _:
                assert_never(effect)

    def message(self, effect: PayerSend) -> object:
        """Say what to send."""
        match effect:
            case SendVoucher():
                return self._voucher(effect.total)
            case SendCloseWanted():
                return CloseWanted(self._sign(effect.terms), self.sign_for_contract(effect.terms))
            case SendCloseAgreed():
                return CloseAgreed(self._sign(effect.terms), self.sign_for_contract(effect.terms))
            case SendRefused():
                return ChannelRefused(effect.reason, effect.detail)
            case _:
                assert_never(effect)

    def sign_for_contract(self, terms: CloseTerms) -> bytes | None:
        """Put the channel key to close terms, as the contract checks it; None without a chain."""
        return sign_close_terms(self._secret, terms) if self._is_backed else None

    def _voucher(self, total: Nano) -> Voucher:
        channel, epoch = self._page.name.channel, self._page.row.epoch
        return Voucher(channel, epoch, total, sign_voucher(self._secret, channel, epoch, total))

    def _sign(self, terms: CloseTerms) -> Signed:
        return sign(self._party.identity, self._party.network, terms)

    def _facts(self, **facts: object) -> dict[str, object]:
        return {"channel": self._page.name.channel.hex()[:8], **facts}
