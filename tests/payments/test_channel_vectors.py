"""The traces in payments/vectors/channel.json, played to both machines."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.payments import payee, payer
from cocoon_p2p.payments.channel import Backing
from cocoon_p2p.payments.events import (
    Accepted,
    AccruedRaised,
    BackingSeen,
    ChannelSettled,
    CloseRequested,
    DepositTaken,
    ExchangeBroken,
    ExchangeCharged,
    ExchangeLowered,
    ExchangeRecovered,
    ExchangeReleased,
    HoldRaised,
    OwnStateReturned,
    StateReceived,
    TermsLapsed,
    TermsReceived,
    VoucherDue,
    VoucherReceived,
    VoucherSaved,
)
from cocoon_p2p.payments.payee import Payee, opened
from cocoon_p2p.payments.payer import Payer
from cocoon_p2p.protocols.messages import (
    CloseAgreed,
    CloseTerms,
    CloseWanted,
    Deposit,
    ExchangeId,
    PaperWanted,
    Voucher,
)
from cocoon_p2p.units import Nano
from tests.payments.parties import (
    BACKED,
    CAPACITY,
    CHANNEL,
    backed_state,
    backed_voucher,
    receipt,
    signed,
    state,
    voucher,
)

Step = dict[str, Any]
VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "payments/vectors/channel.json").read_text()
)


def exchange_of(one: Step) -> ExchangeId:
    return ExchangeId(bytes([one["exchange"]]) * 16)


def is_backed(one: Step) -> bool:
    """Whether the trace is of a channel with a contract: its steps name an epoch."""
    return "epoch" in one


def state_of(one: Step) -> Any:
    return (backed_state if is_backed(one) else state)(one["sequence"], one["charged"])


def voucher_of(one: Step, total: int) -> Voucher:
    return backed_voucher(total, epoch=one["epoch"]) if is_backed(one) else voucher(total)


def terms_of(one: Step) -> TermsReceived:
    channel = BACKED if is_backed(one) else CHANNEL
    terms = CloseTerms(channel.id, one.get("epoch", 0), one["total"], one["valid_until"])
    kind = CloseAgreed if one.get("agreed") else CloseWanted
    return TermsReceived(terms, kind(signed(terms)), VECTORS["now"])


def deposit_of(one: Step) -> Deposit:
    return Deposit(one["epoch"], one["capacity"])


def accepted_of(one: Step) -> Accepted:
    returned = voucher_of(one, one["voucher"]) if one["voucher"] else None
    deposit = deposit_of(one) if "capacity" in one else None
    return Accepted(Nano(one["grant"]), state_of(one), signed(state_of(one)), returned, deposit)


def seen_of(one: Step) -> BackingSeen:
    return BackingSeen(Backing(one["epoch"], one["deposit"], one["claimed"], one["close_at"]))


def paper_of(one: Step) -> Any:
    return receipt(exchange_of(one), one["amount"])


EVENTS: dict[str, Any] = {
    "accepted": accepted_of,
    "hold": lambda one: HoldRaised(exchange_of(one), one["amount"]),
    "voucher due": lambda one: VoucherDue(),
    "charged": lambda one: ExchangeCharged(exchange_of(one), one["amount"], paper_of(one)),
    "released": lambda one: ExchangeReleased(exchange_of(one)),
    "broken": lambda one: ExchangeBroken(exchange_of(one), one["amount"], PaperWanted(exchange_of(one))),
    "recovered": lambda one: ExchangeRecovered(
        exchange_of(one), one["amount"], one["amount_max"], paper_of(one)
    ),
    "lowered": lambda one: ExchangeLowered(exchange_of(one), one["before"], one["amount"], paper_of(one)),
    "state": lambda one: StateReceived(state_of(one), signed(state_of(one))),
    "own state": lambda one: OwnStateReturned(state_of(one)),
    "accrued": lambda one: AccruedRaised(exchange_of(one), one["amount"]),
    "voucher": lambda one: VoucherReceived(voucher_of(one, one["total"])),
    "saved": lambda one: VoucherSaved(one["total"]),
    "close": lambda one: CloseRequested(VECTORS["now"]),
    "terms": terms_of,
    "seen": seen_of,
    "deposit taken": lambda one: DepositTaken(deposit_of(one)),
    "settled": lambda one: ChannelSettled(one["total"]),
    "lapsed": lambda one: TermsLapsed(one["now"]),
}
"How each word in the traces becomes an event."


def spell(effect: Any) -> str:
    words = re.sub("(?<!^)([A-Z])", r" \1", type(effect).__name__).lower()
    held = next(
        (
            getattr(effect, part)
            for part in ("voucher", "state", "terms", "deposit", "backing")
            if getattr(effect, part, None) is not None
        ),
        effect,
    )
    for name in ("total", "charged", "amount", "rise", "held", "capacity", "deposit"):
        if isinstance(getattr(held, name, None), int):
            return f"{words} {getattr(held, name)}"
    return words


def look(machine: Payer | Payee, field: str) -> Any:
    if field == "phase":
        return machine.phase.name.lower()
    if field == "sequence" and isinstance(machine, Payee):
        return machine.state.sequence
    if field == "settled":
        return machine.backing.is_settled
    return getattr(machine, field)


def play(machine: Any, one: Step) -> tuple[Any, list[str]]:
    step = payer.step if isinstance(machine, Payer) else payee.step
    machine, effects = step(machine, EVENTS[one["event"]](one))
    return machine, [spell(effect) for effect in effects]


@pytest.mark.parametrize("trace", VECTORS["traces"], ids=lambda trace: f"{trace['side']}: {trace['name']}")
def test_a_machine_does_what_the_trace_says(trace: dict[str, Any]) -> None:
    assert VECTORS["capacity"] == CAPACITY
    channel = BACKED if trace.get("backed") else CHANNEL
    machine: Any = Payer(channel) if trace["side"] == "payer" else opened(channel, Nano(trace["grant"]))

    for number, one in enumerate(trace["steps"]):
        where = f"step {number}: {one}"
        if "error" in one:
            with pytest.raises(CocoonError) as caught:
                play(machine, one)
            assert caught.value.code == one["error"], where
            continue
        machine, done = play(machine, one)
        assert done == one["do"], where
        found = {field: look(machine, field) for field in one.get("expect", {})}
        assert found == one.get("expect", {}), where
