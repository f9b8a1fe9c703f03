"""Money and its spelling: whole nanoTON everywhere, TON only where people read it."""

from decimal import Decimal, InvalidOperation
from typing import NewType

Nano = NewType("Nano", int)
"An amount of money in nanoTON, never a float. 1 TON is 10**9 nanoTON."

NANO_PER_TON = 10**9

NANO_MAX = 2**63 - 1
"The largest amount any message may carry: what a signed 64-bit database column holds."


def format_ton(amount: int) -> str:
    """Spell an amount in TON, exact to the nanoTON and without trailing zeros: `0.0025 TON`."""
    sign, rest = ("-" if amount < 0 else ""), abs(amount)
    whole, fraction = divmod(rest, NANO_PER_TON)
    digits = f"{fraction:09}".rstrip("0")
    return f"{sign}{whole}{'.' + digits if digits else ''} TON"


def parse_ton(text: str) -> Nano:
    """Read an amount that a person wrote in TON (`0.5`, `12 TON`).

    Raises:
        ValueError: It is no number, finer than a nanoTON, negative, or above `NANO_MAX`.
    """
    try:
        nano = Decimal(text.removesuffix("TON").strip()) * NANO_PER_TON
    except InvalidOperation:
        raise ValueError(f"not an amount in TON: {text!r}") from None
    if not nano.is_finite() or nano != nano.to_integral_value():
        raise ValueError(f"not a whole number of nanoTON: {text!r}")
    if not 0 <= nano <= NANO_MAX:
        raise ValueError(f"amount out of range: {text!r} (0 to {format_ton(NANO_MAX)})")
    return Nano(int(nano))
