"""Measures what each operation costs: `python -m tests.payments.contract.prices` prints the table."""

from collections.abc import Callable
from dataclasses import dataclass

from cocoon_p2p.units import format_ton
from tests.payments.contract.model import IMPORT_FEE
from tests.payments.contract.scene import ATTACHED, DELAY, TON, Scene, Step, opened

YEAR_SECONDS = 365 * 24 * 3600


@dataclass(frozen=True)
class Price:
    """What a message costs, at mainnet's prices."""

    gas: int
    cost: int
    "Gas, sending what it causes, and for an external message its import: in nanoTON."


def price(step: Step, import_fee: int = 0) -> Price:
    assert step.done
    return Price(step.gas, step.cost + import_fee)


def closing() -> Scene:
    scene = opened()
    scene.start_close()
    scene.chain.now += DELAY
    return scene


def close_at_all() -> Step:
    scene = opened()
    return scene.close(scene.balance() + ATTACHED)


OPERATIONS: dict[str, Callable[[], Price]] = {
    "open": lambda: price(Scene().deploy()),
    "top up": lambda: price(opened().top_up(TON)),
    "top up, empty body": lambda: price(opened().tell(TON, None)),
    "claim": lambda: price(opened().claim(TON)),
    "claim, external": lambda: price(opened().claim_externally(TON), IMPORT_FEE),
    "close, both are paid": lambda: price(opened().close(TON)),
    "close, all to the payer": lambda: price(opened().close(0)),
    "close, all to the payee": lambda: price(close_at_all()),
    "start close": lambda: price(opened().start_close()),
    "finish close": lambda: price(closing().finish_close()),
}


def storage_a_year() -> int:
    """Measure what a year of an open channel's storage costs, in nanoTON."""
    scene = opened()
    scene.chain.now += YEAR_SECONDS
    return scene.top_up(TON).storage_fee


def table() -> list[str]:
    """Give the rows as payments/settlement.md has them."""
    rows = []
    for name, measure in OPERATIONS.items():
        measured = measure()
        rows.append(f"| {name} | {measured.gas:,} | {format_ton(measured.cost)} |")
    return [*rows, f"| a year of storage | | {format_ton(storage_a_year())} |"]


if __name__ == "__main__":
    print("\n".join(table()))
