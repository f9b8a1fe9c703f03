"""A node's status in lines for people: what it is, whether it does its work, its load, its money."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cocoon_p2p.cli.channel_tables import spell_time
from cocoon_p2p.units import format_ton

if TYPE_CHECKING:
    from cocoon_p2p.overview.snapshot import LatelyView, LoadView, MoneyView, Snapshot
    from cocoon_p2p.overview.status import BooksView, Status

OFFERS_SHOWN = 8

_CHAIN = {
    "": "no chain",
    "unknown": "chain not asked yet",
    "in step": "chain in step",
    "behind": "CHAIN BEHIND",
    "away": "CHAIN AWAY",
}


def lines_of(found: "Status") -> Iterable[str]:
    """Say how a node does."""
    yield f"{found.role} on {found.network}: {_standing(found)}"
    yield _row("peer", found.peer or "no key yet: it is made when the node starts")
    seen = found.snapshot
    if seen is not None and found.is_running and not found.said:
        yield from _of_running(seen)
        return
    if seen is not None:
        yield _row("last shown", f"{spell_span(found.snapshot_seconds_ago or 0)} ago, version {seen.version}")
        yield _row("was reached", _reached(seen))
        yield from _offers(seen)
        if found.books is None and seen.money is not None:
            yield _row("money then", spell_money(seen.money))
    if found.books is not None:
        yield from _of_books(found.books)


def _standing(found: "Status") -> str:
    if found.said:
        return f"runs, and does not answer: {found.said}"
    if not found.is_running:
        since = (
            "" if found.down_since is None else f", last known to run at {spell_time(int(found.down_since))}"
        )
        return f"down{since}"
    seen = found.snapshot
    return spell_ready(seen) if seen is not None else "runs"


def spell_ready(seen: "Snapshot") -> str:
    """Say whether a running node does what it is there for."""
    if seen.is_ready:
        return "ready"
    if seen.load is not None and seen.load.is_draining:
        return "stopping, once what runs has ended"
    return "running, and not ready"


def _of_running(seen: "Snapshot") -> Iterable[str]:
    up = spell_span(max(0.0, seen.now - seen.started_at))
    yield _row("process", f"{seen.pid}, version {seen.version}, up {up}")
    yield _row("reached", _reached(seen))
    for step in seen.steps:
        if step.status != "ok":
            yield _row(f"{step.step} {step.status}", step.remedy)
    if seen.load is not None:
        yield _row("load", spell_load(seen.load))
    if seen.role != "bootstrap":
        yield _row("last minute", spell_lately(seen.lately))
    yield from _offers(seen)
    if seen.money is not None:
        yield _row("money", spell_money(seen.money))
    bad = [finding for finding in seen.findings if finding.severity != "fine"]
    for finding in bad:
        mark = "WRONG" if finding.severity == "failure" else "soon"
        yield _row(mark, f"{finding.check}: {finding.text}")
    if bad:
        yield _row("", "see `cocoon doctor` for what to do")


def _of_books(books: "BooksView") -> Iterable[str]:
    yield _row("ledger", f"last written at {spell_time(int(books.written_at))}")
    yield _row("channels", f"{books.channels_open} open")
    today = f"in {format_ton(books.income_today)}, out {format_ton(books.expense_today)}"
    yield _row("today", today)
    yield _row("all told", f"in {format_ton(books.income)}, out {format_ton(books.expense)}")
    if books.uncollected:
        yield _row("uncollected", format_ton(books.uncollected))


def _reached(seen: "Snapshot") -> str:
    told = seen.reach.told[0] if seen.reach.told else ""
    advice = f"; {seen.reach.advice}" if seen.reach.advice else ""
    return f"{seen.reach.reachability}{' at ' + told if told else ''}{advice}"


def _offers(seen: "Snapshot") -> Iterable[str]:
    asked = [] if seen.selling is None else seen.selling.prices
    reasons = {price.model: price.why for price in asked if price.follows != "nothing"}
    for offer in seen.offers[:OFFERS_SHOWN]:
        sellers = f", {offer.sellers} workers" if seen.role == "proxy" else ""
        prices = f"{offer.prompt:,} / {offer.completion:,} nanoTON per 1,000 tokens"
        yield _row("sells", f"{offer.model}: {prices}{sellers}")
        if offer.model in reasons:
            yield _row("", reasons[offer.model])
    if len(seen.offers) > OFFERS_SHOWN:
        yield _row("", f"and {len(seen.offers) - OFFERS_SHOWN} more")


def spell_load(load: "LoadView") -> str:
    """Say what a worker or a proxy does right now."""
    taken = max(0, load.slots_total - load.slots_free)
    waiting = f", {load.waiting} wait" if load.waiting else ""
    return f"{load.running} running, {taken} of {load.slots_total} slots taken{waiting}"


def spell_lately(lately: "LatelyView") -> str:
    """Say what went through a node in the last minute."""
    first = lately.first_token_seconds
    told = "" if first is None else f", first token {first:.2f} s"
    failed = f", {lately.failed} failed" if lately.failed else ""
    return (
        f"{lately.exchanges} exchanges{failed}, {lately.prompt_tokens:,} + {lately.completion_tokens:,}"
        f" tokens{told}"
    )


def spell_money(money: "MoneyView") -> str:
    """Say what came in and went out today, what is to come, and how the chain stands."""
    parts = [f"today in {format_ton(money.income_today)}, out {format_ton(money.expense_today)}"]
    if money.in_channels:
        parts.append(f"{format_ton(money.in_channels)} in channels")
    if money.uncollected:
        parts.append(f"{format_ton(money.uncollected)} uncollected")
    if money.wallet is not None:
        parts.append(f"wallet {format_ton(money.wallet)} ({_ago(money.wallet_seconds_ago)})")
    chain = _CHAIN.get(money.chain, money.chain)
    answered = "" if money.chain_seconds_ago is None else f" (answered {_ago(money.chain_seconds_ago)})"
    return ", ".join([*parts, chain + answered])


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{spell_span(seconds)} ago"


def spell_span(seconds: float) -> str:
    """Spell a span as a person says it."""
    whole = int(seconds)
    for size, name, less, part in (
        (86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"),
    ):  # fmt: skip
        if whole >= size:
            return f"{whole // size} {name} {whole % size // less} {part}"
    return f"{whole} s"


def _row(name: str, text: str) -> str:
    return f"  {name:<12} {text}"
