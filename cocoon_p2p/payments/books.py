"""One channel's pages in the ledger: which rows and lines an effect becomes, and the way back.

A page knows the row as it will be on disk once all that was handed over has landed, and the
number of the next line. Consecutive vouchers are one line that grows, so the books do not get
longer by the vouchers of a long answer.

Spec: payments/settlement.md (The ledger).
"""

from collections.abc import Callable, Iterable

from cocoon_p2p.frozen import replace
from cocoon_p2p.ledger import (
    Account,
    Change,
    ChannelName,
    ChannelRow,
    Evidence,
    ExchangeForgotten,
    ExchangeRow,
    Line,
    Side,
    Status,
)
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.channel import Backing, Channel, Phase, channel_of
from cocoon_p2p.payments.delivered import delivered
from cocoon_p2p.payments.events import (
    SaveBacking,
    SaveBegun,
    SaveBroken,
    SaveCharge,
    SaveLowered,
    SaveRecovered,
    SaveStopped,
)
from cocoon_p2p.payments.payee import Payee, opened
from cocoon_p2p.payments.payer import Payer
from cocoon_p2p.protocols.messages import (
    ChannelOffer,
    ChannelState,
    CloseAgreed,
    CloseTerms,
    CloseWanted,
    ExchangeId,
    Signed,
    Voucher,
)
from cocoon_p2p.protocols.papers import decode_signed, encode_signed
from cocoon_p2p.protocols.schema import decode_message, decode_paper, encode_message
from cocoon_p2p.units import Nano

_NOTHING = Nano(0)


AHEAD_MAX = 64
"""Vouchers that are remembered until what they promise was charged. Of more, every second is forgotten: then
what a claim takes is a little less than it could be."""


class Page:
    """The rows and lines of one end of one channel. It makes changes; handing them over is the caller's."""

    def __init__(self, row: ChannelRow, channel: Channel) -> None:
        self.row = row
        self._is_backed = channel.deployment is not None
        self._vouchers: Line | None = None
        self._ahead = [] if row.voucher is None else [_voucher(row.voucher)]
        "Vouchers that may promise more than was charged, the oldest first."

    @property
    def name(self) -> ChannelName:
        return self.row.name

    def open(self, at: int) -> tuple[Change, ...]:
        """Begin a payer's channel. Without a chain the deposit is set aside here and now."""
        if not self.row.deposit:
            return (self.row,)
        return self._line(Account.WALLET, Account.DEPOSIT, self.row.deposit, at), self.row

    def voucher(self, voucher: Voucher, at: int) -> tuple[Change, ...]:
        rise = Nano(voucher.total - self.row.vouchered)
        if self._vouchers is not None and rise >= 0:
            grown = replace(self._vouchers, amount=Nano(self._vouchers.amount + rise), at=at)
            line = self._vouchers = grown
        else:
            line = self._line(*self._arrow(Account.VOUCHERS, Account.OWED), rise, at)
            self._vouchers = line
        self._ahead.append(voucher)
        if len(self._ahead) > AHEAD_MAX:
            del self._ahead[1:-1:2]
        return line, self._update(vouchered=Nano(voucher.total), voucher=encode_message(voucher))

    def charge(self, charge: SaveCharge, at: int) -> tuple[Change, ...]:
        total = Nano(self.row.charged + charge.amount)
        row = self._ended(charge, total, at)
        line = self._line(*self._cost(), charge.amount, at, charge.exchange)
        update = self._update(charged=total, earned=self._earned(total))
        return line, row, *delivered(self.name, charge.exchange, charge.paper, at), update

    def _earned(self, charged: Nano) -> bytes | None:
        """Find the newest voucher that promises no more than was charged."""
        earned = self.row.earned
        while self._ahead and self._ahead[0].total <= charged:
            earned = encode_message(self._ahead.pop(0))
        return earned

    def lower(self, lowered: SaveLowered, at: int) -> tuple[Change, ...]:
        """Turn a part of a charge back; the lines that it made stay."""
        fall = Nano(lowered.before - lowered.amount)
        total = Nano(self.row.charged - fall)
        source, target = self._cost()
        line = self._line(target, source, fall, at, lowered.exchange)
        counted = delivered(self.name, lowered.exchange, lowered.paper, at)
        return line, self._ended(lowered, total, at), *counted, self._update(charged=total)

    def _ended(self, end: SaveCharge | SaveLowered, total: Nano, at: int) -> ExchangeRow:
        paper = encode_signed(end.paper)
        return ExchangeRow(self.name, end.exchange, Status.ENDED, end.amount, _NOTHING, total, paper, at)

    def recover(self, recovered: SaveRecovered, at: int) -> tuple[Change, ...]:
        line = self._line(*self._cost(), recovered.rise, at)
        return line, self._update(charged=Nano(self.row.charged + recovered.rise))

    def begin(self, begun: SaveBegun, at: int) -> tuple[Change, ...]:
        row = ExchangeRow(
            self.name, begun.exchange, Status.RUNNING, _NOTHING, begun.held, self.row.charged, None, at
        )
        return row, self.row

    def broke(self, broken: SaveBroken, at: int) -> tuple[Change, ...]:
        question = encode_message(broken.question)
        row = ExchangeRow(
            self.name,
            broken.exchange,
            Status.BROKEN,
            broken.held,
            broken.held,
            self.row.charged,
            question,
            at,
        )
        return row, self.row

    def release(self, exchange: ExchangeId) -> tuple[Change, ...]:
        return (ExchangeForgotten(self.name, exchange),)

    def state(self, paper: Signed) -> tuple[Change, ...]:
        return (self._update(state=encode_signed(paper)),)

    def stop(self, stopped: SaveStopped, at: int) -> tuple[Change, ...]:
        papers = tuple(encode_signed(paper) for paper in stopped.papers)
        return Evidence(self.name, stopped.reason, papers, at), self._update(phase=Phase.STOPPED)

    def terms(self, ours: Signed) -> tuple[Change, ...]:
        return (self._update(phase=Phase.CLOSING, terms=encode_signed(ours)),)

    def close(self, terms: CloseTerms, theirs: CloseWanted | CloseAgreed, at: int) -> tuple[Change, ...]:
        """Note that both have signed. Where a contract is open, it has yet to be told; else all is done."""
        row = self._update(phase=Phase.CLOSED, agreed=encode_message(theirs))
        return (row,) if self._is_backed and row.epoch else self.settle(Nano(terms.total), at)

    def reopen(self) -> tuple[Change, ...]:
        """Go on after terms that closed nothing."""
        return (self._update(phase=Phase.DRAINING, terms=None, agreed=None, is_settled=False),)

    def back(self, saved: SaveBacking, at: int) -> tuple[Change, ...]:
        """Book what the chain shows: what was put in, what storage took, what was collected."""
        seen, lines = saved.backing, list[Line]()
        if self.name.side is Side.PAYER:
            rise = seen.deposit - self.row.deposit
            arrow = (Account.WALLET, Account.DEPOSIT) if rise > 0 else (Account.DEPOSIT, Account.FEES)
            lines += [self._line(*arrow, Nano(abs(rise)), at)] if rise else []
        lines += self._collected(seen.claimed, at)
        row = self._update(
            epoch=seen.epoch, deposit=seen.deposit, claimed=seen.claimed, close_at=seen.close_at
        )
        return *lines, row

    def settle(self, total: Nano, at: int) -> tuple[Change, ...]:
        """Book that the contract paid this much and is gone: what was vouchered beyond it goes back."""
        # What a total pays beyond what was collected before is paid by the close itself, out of what is owed.
        beyond = Nano(max(total - self.row.claimed, 0))
        unclaimed = Nano(self.row.vouchered - self.row.claimed)
        lines = [self._line(*self._arrow(Account.OWED, Account.VOUCHERS), unclaimed, at)]
        if self.name.side is Side.PAYER:
            lines += self._deposited(Nano(self.row.claimed + beyond), at)
            rest = Nano(self.row.deposit - self.row.claimed - beyond)
            lines.append(self._line(Account.DEPOSIT, Account.OWED, beyond, at))
            lines.append(self._line(Account.DEPOSIT, Account.WALLET, rest, at))
        else:
            lines.append(self._line(Account.OWED, Account.WALLET, beyond, at))
        claimed = Nano(self.row.claimed + beyond)
        phase = Phase.STOPPED if self.row.phase == Phase.STOPPED else Phase.CLOSED
        return *lines, self._update(phase=phase, claimed=claimed, is_settled=True)

    def _deposited(self, paid: Nano, at: int) -> list[Line]:
        """Book a deposit that we never saw, but that has paid."""
        unseen = Nano(paid - self.row.deposit)
        if unseen <= 0:
            return []
        line = self._line(Account.WALLET, Account.DEPOSIT, unseen, at)
        self._update(deposit=paid)
        return [line]

    def _collected(self, claimed: Nano, at: int) -> list[Line]:
        lines, row = list[Line](), self.row
        if claimed > row.vouchered:
            # By a voucher that an older ledger of ours does not know.
            promise = self._arrow(Account.VOUCHERS, Account.OWED)
            lines.append(self._line(*promise, Nano(claimed - row.vouchered), at))
            self._update(vouchered=claimed)
        if claimed > row.claimed:
            arrow = (Account.VOUCHERS, Account.WALLET)
            if self.name.side is Side.PAYER:
                arrow = (Account.DEPOSIT, Account.VOUCHERS)
            lines.append(self._line(*arrow, Nano(claimed - row.claimed), at))
        return lines

    def _line(
        self, source: Account, target: Account, amount: Nano, at: int, exchange: ExchangeId | None = None
    ) -> Line:
        line = Line(self.name, self.row.lines, source, target, amount, exchange, at)
        self.row = replace(self.row, lines=self.row.lines + 1)
        self._vouchers = None
        return line

    def _update(self, **fields: object) -> ChannelRow:
        self.row = replace(self.row, **fields)  # type: ignore[arg-type]  # names of the row's own fields
        return self.row

    def _arrow(self, source: Account, target: Account) -> tuple[Account, Account]:
        """Turn a movement of the payer's books into one of the payee's, which mirror them."""
        return (source, target) if self.name.side is Side.PAYER else (target, source)

    def _cost(self) -> tuple[Account, Account]:
        if self.name.side is Side.PAYER:
            return Account.OWED, Account.EXPENSE
        return Account.INCOME, Account.OWED


def name_of(channel: Channel, side: Side) -> ChannelName:
    """Name one end of a channel the way the ledger does."""
    return ChannelName(side, channel.id)


def backing_of(row: ChannelRow) -> Backing:
    """Read what was last seen behind a channel out of its row."""
    return Backing(row.epoch, row.deposit, row.claimed, row.close_at, row.is_settled)


def channel_of_row(row: ChannelRow) -> Channel:
    """Read the channel out of a row of ours."""
    return channel_of(decode_paper(ChannelOffer, decode_signed(row.offer).body))


def _voucher(kept: bytes) -> Voucher:
    voucher = decode_message(kept)
    assert isinstance(voucher, Voucher), "our own ledger"
    return voucher


def close_body(
    row: ChannelRow, terms: CloseTerms | None, sign: Callable[[CloseTerms], bytes | None]
) -> bytes | None:
    """Put together what closes a contract: the terms, our channel key's signature, and the peer's.

    Args:
        row: The channel's; it holds the peer's signature.
        terms: Those that we signed.
        sign: Puts our channel key to them.

    Returns:
        The message's body, a bag; None unless both have signed and there is a contract.
    """
    if terms is None or row.agreed is None or (ours := sign(terms)) is None:
        return None
    agreed = decode_message(row.agreed)
    assert isinstance(agreed, CloseWanted | CloseAgreed), "our own ledger"
    theirs = agreed.contract_signature
    assert theirs is not None, "terms for a contract are taken with its signature only"
    payer, payee = (ours, theirs) if row.name.side is Side.PAYER else (theirs, ours)
    return contract.close(Nano(terms.total), terms.valid_until, payer_signature=payer, payee_signature=payee)


def restore_payer(row: ChannelRow, unsettled: Iterable[ExchangeRow]) -> Payer:
    """Stand a payer's machine up again as the ledger has it.

    Exchanges that were running are held again: what the payee did for them meanwhile is owed.
    """
    running = {exchange.exchange: exchange.held for exchange in unsettled if exchange.name == row.name}
    newest = None if row.state is None else decode_signed(row.state)
    state = None if newest is None else decode_paper(ChannelState, newest.body)
    return Payer(
        channel=channel_of_row(row),
        phase=_phase(row),
        backing=backing_of(row),
        vouchered=row.vouchered,
        charged=row.charged,
        running=running,
        held=Nano(sum(running.values())),
        newest=newest,
        sequence=-1 if state is None else state.sequence,
        stated=_NOTHING if state is None else Nano(state.charged),
        terms=_terms(row),
    )


def restore_payee(row: ChannelRow, grant: Nano) -> Payee:
    """Stand a payee's machine up again as the ledger has it. What had accrued and was not charged is lost."""
    payee = opened(channel_of_row(row), grant)
    # Vouchers beyond what a contract paid that is gone are worth nothing.
    is_gone = row.is_settled and payee.channel.deployment is not None
    vouchered = row.claimed if is_gone else row.vouchered
    state = payee.state if row.state is None else decode_paper(ChannelState, decode_signed(row.state).body)
    return replace(
        payee,
        phase=_phase(row),
        backing=backing_of(row),
        state=state,
        best=vouchered,
        vouchered=vouchered,
        terms=_terms(row),
    )


def _phase(row: ChannelRow) -> Phase:
    # That the payer leaves drains a channel; what was seen is kept, and says so again.
    is_left = row.phase == Phase.OPEN and row.close_at != 0
    return Phase.DRAINING if is_left else Phase(row.phase)


def _terms(row: ChannelRow) -> CloseTerms | None:
    return None if row.terms is None else decode_paper(CloseTerms, decode_signed(row.terms).body)
