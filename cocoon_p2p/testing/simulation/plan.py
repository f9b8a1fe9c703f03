"""What a run is made of: everything that is drawn, drawn at once from one number.

A plan holds no randomness any more, so a failing run can be looked at before it is run again.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from cocoon_p2p.protocols.messages import Price

MODEL = "scripted"
EXCHANGES = 100
"Requests of a run at least."

TOKENS_MAX = 24
"Of an answer."

LAST_TROUBLE_SECONDS = 60.0
"Nothing more goes wrong after this; then everything must come to rest."


class Deed(Enum):
    """What goes wrong."""

    KILL = "kill"
    "A node ends as by `kill -9` and is started again later, over what its disk had."

    RESTORE = "restore"
    "The same, over a copy of its disk that is some seconds older."

    CUT = "cut"
    PARTITION = "partition"
    "What is written vanishes, both ways, until it is healed."

    RESET = "reset"
    "A write breaks its connection."

    LATE = "late"
    "A write comes seconds late, and all behind it."

    REPRICE = "reprice"
    FAIL = "fail"
    "An engine fails at some token of each answer."

    STALL = "stall"
    "An engine falls silent at some token of each answer."


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong, at a time."""

    at: float
    "In seconds after the first request."

    deed: Deed
    node: str
    other: str
    "The other end, where there is one."

    seconds: float
    "How long it lasts."

    amount: int
    "A token's number, a write's, or tenths of a price."


@dataclass(frozen=True, slots=True)
class Wish:
    """One request of one client."""

    tag: str
    "In its prompt and in each of its tokens: no other answer's token can pass for one of its own."

    tokens: int
    pause_seconds: float
    "Before it is made."

    timeout_seconds: float
    max_cost: int
    prefer: Literal["cheap", "balanced", "fast"]
    leave_at: int | None
    "The token after which its reader leaves; None: it reads to the end."


@dataclass(frozen=True, slots=True)
class Bench:
    """A worker: how quick it is, and how quick it says that it is."""

    slots: int
    token_seconds: float
    prefill_seconds: float
    says_token_seconds: float | None
    "What it advertises; None: nothing."

    price: Price


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run."""

    seed: int
    proxies: int
    workers: tuple[Bench, ...]
    clients: tuple[tuple[Wish, ...], ...]
    concurrency: int
    "Requests of one client at once."

    delay_seconds: tuple[float, float]
    flush_seconds: float
    troubles: tuple[Trouble, ...]


def make_plan(seed: int, *, exchanges: int = EXCHANGES) -> Plan:
    """Draw a plan."""
    dice = random.Random(f"simulation {seed}")
    proxies, workers, clients = dice.randint(1, 2), dice.randint(2, 4), dice.randint(2, 3)
    each = -(-exchanges // clients)
    delay = dice.choice([(0.0, 0.0), (0.0, 0.02), (0.01, 0.1)])
    return Plan(
        seed=seed,
        proxies=proxies,
        workers=tuple(_bench(dice) for _ in range(workers)),
        clients=tuple(
            tuple(_wish(dice, f"c{client}r{number}") for number in range(each)) for client in range(clients)
        ),
        concurrency=dice.randint(2, 4),
        delay_seconds=delay,
        flush_seconds=dice.choice([0.0, 0.005, 0.05]),
        troubles=_troubles(dice, proxies, workers, clients),
    )


def _bench(dice: random.Random) -> Bench:
    token_seconds = dice.choice([0.005, 0.02, 0.08])
    prompt, completion = dice.randint(100, 2_000) * 1_000, dice.randint(100, 4_000) * 1_000
    return Bench(
        slots=dice.randint(1, 4),
        token_seconds=token_seconds,
        prefill_seconds=dice.choice([0.0, 0.1, 1.5]),
        says_token_seconds=dice.choice([None, token_seconds, token_seconds, token_seconds / 100]),
        price=Price(prompt, prompt // 2, completion, completion),
    )


def _wish(dice: random.Random, tag: str) -> Wish:
    tokens = dice.randint(1, TOKENS_MAX)
    return Wish(
        tag=tag,
        tokens=tokens,
        pause_seconds=dice.expovariate(1.0),
        timeout_seconds=dice.choice([2.0, 20.0, 30.0]),
        max_cost=dice.choice([60_000, 200_000, *(8 * [10**9])]),
        prefer=dice.choice(["cheap", "balanced", "fast"]),
        leave_at=dice.randint(0, tokens) if dice.random() < 0.15 else None,
    )


def _troubles(dice: random.Random, proxies: int, workers: int, clients: int) -> tuple[Trouble, ...]:
    names = _names("proxy", proxies), _names("worker", workers), _names("client", clients)
    deeds = list(Deed)
    # Some runs are quiet: what must hold in trouble must hold in peace too.
    made = [_trouble(dice, dice.choice(deeds), *names) for _ in range(dice.choice([0, 4, 8, 16]))]
    return tuple(sorted(made, key=lambda trouble: trouble.at))


def _trouble(
    dice: random.Random, deed: Deed, proxies: Sequence[str], workers: Sequence[str], clients: Sequence[str]
) -> Trouble:
    proxy = dice.choice(proxies)
    node, other = dice.choice([*workers, *clients]), proxy
    if deed in (Deed.REPRICE, Deed.FAIL, Deed.STALL):
        node = dice.choice(workers)
    elif deed in (Deed.KILL, Deed.RESTORE):
        node = dice.choice([proxy, *workers, *clients])
    return Trouble(
        at=dice.uniform(0.0, LAST_TROUBLE_SECONDS),
        deed=deed,
        node=node,
        other=other,
        seconds=dice.uniform(0.1, 15.0),
        amount=dice.randint(1, 30),
    )


def _names(role: str, count: int) -> tuple[str, ...]:
    return tuple(f"{role}-{number}" for number in range(1, count + 1))
