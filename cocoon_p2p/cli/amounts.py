"""Amounts of money as people write and read them: in TON, exact to the nanoTON."""

from typing import Any

import click

from cocoon_p2p.units import NANO_MAX, Nano, format_ton, parse_ton


class TonAmount(click.ParamType["Nano"]):
    """An amount in TON, above zero, as an argument or an option."""

    name = "ton"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Nano:
        try:
            amount = parse_ton(str(value))
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
        if not amount:
            self.fail(f"an amount above zero is needed (0.000000001 to {format_ton(NANO_MAX)})", param, ctx)
        return amount


TON = TonAmount()


def ton(amount: int | None) -> str:
    """Spell an amount in TON without its unit, for a table; `?` for one that is not known."""
    return "?" if amount is None else format_ton(amount).removesuffix(" TON")
