"""How a payee's effects are carried out: as changes of its page in the ledger, and as messages.

Whatever is signed is signed here, and the same way every time: an effect that is carried out twice
gives the same bytes.
"""

import logging
from typing import assert_never

from cocoon_p2p.ledger import Change
from cocoon_p2p.payments.books import Page
from cocoon_p2p.payments.channel import Channel
from cocoon_p2p.payments.close_terms import payee_key, sign_close_terms
from cocoon_p2p.payments.events import (
    PayeeSave,
    PayeeSend,
    SaveBacking,
    SaveCharge,
    SaveClosed,
    SaveLowered,
    SaveRecovered,
    SaveReopened,
    SaveSettled,
    SaveVoucher,
    SendCloseAgreed,
    SendCloseWanted,
    SendDeposit,
    SendRefused,
    SendState,
    SignState,
    SignTerms,
)
from cocoon_p2p.payments.party import Party
from cocoon_p2p.protocols.messages import (
    ChannelRefused,
    ChannelState,
    CloseAgreed,
    CloseTerms,
    CloseWanted,
    DepositSeen,
    Signed,
    StateSigned,
)
from cocoon_p2p.protocols.papers import sign

log = logging.getLogger(__name__)


class PayeeEffects:
    """One channel's page in a payee's ledger, and the identity that signs for it."""

    def __init__(self, party: Party, page: Page, channel: Channel) -> None:
        self._party = party
        self._page = page
        self._is_backed = channel.deployment is not None
        self._last: tuple[ChannelState | CloseTerms, Signed] | None = None

    def changes(self, effect: PayeeSave) -> tuple[Change, ...]:
        """Say what to write; the page counts on its being handed over."""
        page, at = self._page, self._party.at
        match effect:
            case SaveVoucher():
                return page.voucher(effect.voucher, at)
            case SaveCharge():
                return page.charge(effect, at)
            case SaveLowered():
                return page.lower(effect, at)
            case SaveRecovered():
                log.warning("our ledger is an older one", extra=self._facts(rise=effect.rise))
                return page.recover(effect, at)
            case SignState():
                return page.state(self.sign(effect.state))
            case SignTerms():
                ours = page.terms(self.sign(effect.terms))
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

    def message(self, effect: PayeeSend) -> object:
        """Say what to send."""
        match effect:
            case SendState():
                return StateSigned(self.sign(effect.state))
            case SendCloseWanted():
                return CloseWanted(self.sign(effect.terms), self.sign_for_contract(effect.terms))
            case SendCloseAgreed():
                return CloseAgreed(self.sign(effect.terms), self.sign_for_contract(effect.terms))
            case SendDeposit():
                return DepositSeen(self._page.name.channel, effect.deposit)
            case SendRefused():
                return ChannelRefused(effect.reason, effect.detail)
            case _:
                assert_never(effect)

    def sign(self, paper: ChannelState | CloseTerms) -> Signed:
        """Put our identity to a state or to close terms."""
        # What is saved is sent in the same step: one signature does for both.
        if self._last is None or self._last[0] is not paper:
            self._last = paper, sign(self._party.identity, self._party.network, paper)
        return self._last[1]

    def sign_for_contract(self, terms: CloseTerms) -> bytes | None:
        """Put our closing key to close terms, as the contract checks it; None without a chain."""
        if not self._is_backed:
            return None
        return sign_close_terms(payee_key(self._party.identity.seed)[1], terms)

    def _facts(self, **facts: object) -> dict[str, object]:
        return {"channel": self._page.name.channel.hex()[:8], **facts}
