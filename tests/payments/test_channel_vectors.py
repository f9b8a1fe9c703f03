"""The traces in payments/vectors/channel.json, played to both machines."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.payments import payee, payer
from cocoon_p2p.payments.events import (
    Accepted,
    AccruedRaised,
    CloseRequested,
    ExchangeBroken,
    ExchangeCharged,
    ExchangeLowered,
    ExchangeRecovered,
    ExchangeReleased,
    HoldRaised,
    OwnStateReturned,
    StateReceived,
    TermsReceived,
    VoucherDue,
    VoucherReceived,
    VoucherSaved,
)
from cocoon_p2p.payments.payee import Payee, opened
from cocoon_p2p.payments.payer import Payer
from cocoon_p2p.protocols.messages import CloseTerms, CloseWanted, ExchangeId, PaperWanted
from cocoon_p2p.units import Nano
from tests.payments.parties import CAPACITY, CHANNEL, receipt, signed, state, voucher

Step = dict[str, Any]
VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "payments/vectors/channel.json").read_text()
)


def exchange_of(one: Step) -> ExchangeId:
    return ExchangeId(bytes([one["exchange"]]) * 16)


def state_of(one: Step) -> Any:
    return state(one["sequence"], one["charged"])


def terms_of(one: Step) -> TermsReceived:
    terms = CloseTerms(CHANNEL.id, 0, one["total"], one["valid_until"])
    return TermsReceived(terms, CloseWanted(signed(terms)), VECTORS["now"])


def accepted_of(one: Step) -> Accepted:
    returned = voucher(one["voucher"]) if one["voucher"] else None
    return Accepted(Nano(one["grant"]), state_of(one), signed(state_of(one)), returned)


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
    "voucher": lambda one: VoucherReceived(voucher(one["total"])),
    "saved": lambda one: VoucherSaved(one["total"]),
    "close": lambda one: CloseRequested(VECTORS["now"]),
    "terms": terms_of,
}
"How each word in the traces becomes an event."


def spell(effect: Any) -> str:
    words = re.sub("(?<!^)([A-Z])", r" \1", type(effect).__name__).lower()
    held = next(
        (
            getattr(effect, part)
            for part in ("voucher", "state", "terms")
            if getattr(effect, part, None) is not None
        ),
        effect,
    )
    for name in ("total", "charged", "amount", "rise", "held"):
        if isinstance(getattr(held, name, None), int):
            return f"{words} {getattr(held, name)}"
    return words


def look(machine: Payer | Payee, field: str) -> Any:
    if field == "phase":
        return machine.phase.name.lower()
    if field == "sequence" and isinstance(machine, Payee):
        return machine.state.sequence
    return getattr(machine, field)


def play(machine: Any, one: Step) -> tuple[Any, list[str]]:
    step = payer.step if isinstance(machine, Payer) else payee.step
    machine, effects = step(machine, EVENTS[one["event"]](one))
    return machine, [spell(effect) for effect in effects]


@pytest.mark.parametrize("trace", VECTORS["traces"], ids=lambda trace: f"{trace['side']}: {trace['name']}")
def test_a_machine_does_what_the_trace_says(trace: dict[str, Any]) -> None:
    assert VECTORS["capacity"] == CAPACITY
    machine: Any = Payer(CHANNEL) if trace["side"] == "payer" else opened(CHANNEL, Nano(trace["grant"]))

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
