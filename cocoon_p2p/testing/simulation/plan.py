"""What a run is made of: everything that is drawn, drawn at once from one number.

A plan holds no randomness any more, so a failing run can be looked at before it is run again.
"""

import random
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from cocoon_p2p.protocols.messages import Price

MODEL = "scripted"
EXCHANGES = 100
"Of a run at least: requests that an engine began to compute."

TOKENS_MAX = 24
LONG_TOKENS = 160
"Of an answer: nearly all are short, and some so long that who computes them for nobody is seen to."

LAST_TROUBLE_SECONDS = 30.0
"Nothing more goes wrong after this: about then the last requests are made, and everything must come to rest."

AIM_TOKENS_MAX = 6
"What is to strike in the midst of an answer waits for one to have so many tokens at most."


class Deed(Enum):
    """What goes wrong."""

    KILL = "kill"
    "A node ends as by `kill -9` and is started again later, over what its disk had."

    RESTORE = "restore"
    "The same, over a copy of its disk that is some seconds older."

    DRAIN = "drain"
    "A worker or proxy is told to end what it has and to take nothing more, and then ends."

    CUT = "cut"
    "A connection breaks."

    PARTITION = "partition"
    "What is written vanishes, both ways, until it is healed."

    ISOLATE = "isolate"
    "The same between a node and everybody else."

    RESET = "reset"
    "A write breaks its connection."

    LATE = "late"
    "A write comes seconds late, and all behind it."

    REPRICE = "reprice"
    FAIL = "fail"
    "An engine fails at some token of each answer."

    STALL = "stall"
    "An engine falls silent at some token of each answer."

    LIE = "lie"
    "An engine counts more tokens than prompts have."


OF_WORKERS = (Deed.REPRICE, Deed.FAIL, Deed.STALL, Deed.LIE)


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

    aim: int | None = None
    "It waits until an answer of the node's (of anybody's, if it is no worker) has so many tokens."


@dataclass(frozen=True, slots=True)
class Wish:
    """One request of one client."""

    tag: str
    "In its prompt and in each of its tokens: no other answer's token can pass for one of its own."

    tokens: int
    tokens_max: int
    "More than it has, as many, or fewer."

    pause_seconds: float
    "Before it is made."

    timeout_seconds: float
    max_cost: int
    prefer: Literal["cheap", "balanced", "fast"]
    leave_at: int | None
    "The token after which its reader leaves; None: it reads to the end."

    cancel_after: float | None
    "Seconds after which the application cancels it, whatever came by then."


@dataclass(frozen=True, slots=True)
class Bench:
    """A worker: how quick it is, and how quick it says that it is."""

    slots: int
    says_slots: int
    token_seconds: float
    prefill_seconds: float
    says_token_seconds: float | None
    "What it advertises; None: nothing."

    price: Price

    @property
    def lies(self) -> bool:
        """Whether it says that it is quicker, or has more room, than it is or has."""
        quicker = self.says_token_seconds is not None and self.says_token_seconds < self.token_seconds
        return quicker or self.says_slots > self.slots


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run."""

    seed: int
    proxies: int
    workers: tuple[Bench, ...]
    clients: tuple[tuple[Wish, ...], ...]
    spare: tuple[Wish, ...]
    "What is asked by whoever still is answered, until there were enough exchanges."

    exchanges: int
    worker_grant: int
    "What workers let a proxy owe, in nanoTON: nothing, a few tokens, or more than it ever does."

    counts_prompts: tuple[str, ...]
    "Clients that have the model's tokenizer, and so know how many tokens a prompt has."

    concurrency: int
    "Requests of one client at once."

    delay_seconds: tuple[float, float]
    flush_seconds: float
    troubles: tuple[Trouble, ...]


def make_plan(seed: int, *, exchanges: int = EXCHANGES) -> Plan:
    """Draw a plan."""
    dice = random.Random(f"simulation {seed}")
    proxies, workers, clients = dice.choice([1, 2, 2]), dice.randint(2, 5), dice.randint(2, 3)
    each = -(-exchanges // clients)
    delay = dice.choice([(0.0, 0.0), (0.0, 0.02), (0.01, 0.1)])
    return Plan(
        seed=seed,
        proxies=proxies,
        workers=tuple(_bench(dice) for _ in range(workers)),
        clients=tuple(
            tuple(_wish(dice, f"c{client}r{number}") for number in range(each)) for client in range(clients)
        ),
        spare=tuple(_wish(dice, f"s{number}") for number in range(exchanges)),
        exchanges=exchanges,
        worker_grant=dice.choice([0, 20_000, 20_000_000]),
        counts_prompts=dice.choice([(), (), ("client-1",)]),
        concurrency=dice.randint(2, 4),
        delay_seconds=delay,
        flush_seconds=dice.choice([0.0, 0.005, 0.05]),
        troubles=_troubles(dice, proxies, workers, clients),
    )


def _bench(dice: random.Random) -> Bench:
    token_seconds = dice.choice([0.005, 0.02, 0.08])
    prompt, completion = dice.randint(100, 2_000) * 1_000, dice.randint(100, 4_000) * 1_000
    slots = dice.randint(1, 4)
    return Bench(
        slots=slots,
        says_slots=slots + dice.choice([0, 0, 0, 0, 0, 2]),
        token_seconds=token_seconds,
        prefill_seconds=dice.choice([0.0, 0.1, 1.5]),
        says_token_seconds=dice.choice([None, token_seconds, token_seconds, token_seconds / 100]),
        price=Price(prompt, prompt // 2, completion, completion),
    )


def _wish(dice: random.Random, tag: str) -> Wish:
    tokens = LONG_TOKENS if dice.random() < 0.02 else dice.randint(1, TOKENS_MAX)
    return Wish(
        tag=tag,
        tokens=tokens,
        tokens_max=dice.choice([2 * LONG_TOKENS, 2 * LONG_TOKENS, tokens, max(1, tokens - 3)]),
        pause_seconds=dice.expovariate(1.0),
        timeout_seconds=dice.choice([2.0, 20.0, 30.0, 30.0]),
        max_cost=dice.choice([60_000, 200_000, *(18 * [10**9])]),
        prefer=dice.choice(["cheap", "balanced", "fast"]),
        leave_at=dice.randint(0, tokens) if dice.random() < 0.15 else None,
        cancel_after=dice.expovariate(1.0) if dice.random() < 0.1 else None,
    )


def _troubles(dice: random.Random, proxies: int, workers: int, clients: int) -> tuple[Trouble, ...]:
    # Some runs are quiet: what must hold in trouble must hold in peace too.
    count = dice.choice([0, 8, 16, 24])
    names = _names("proxy", proxies), _names("worker", workers), _names("client", clients)
    made = [_trouble(dice, dice.choice(list(Deed)), *names) for _ in range(count)]
    return tuple(sorted(made, key=lambda trouble: trouble.at))


def _trouble(
    dice: random.Random,
    deed: Deed,
    proxies: tuple[str, ...],
    workers: tuple[str, ...],
    clients: tuple[str, ...],
) -> Trouble:
    proxy = dice.choice(proxies)
    node = dice.choice([*workers, *clients])
    if deed in OF_WORKERS:
        node = dice.choice(workers)
    elif deed is Deed.DRAIN:
        node = dice.choice([proxy, *workers])
    elif deed in (Deed.KILL, Deed.RESTORE, Deed.ISOLATE):
        node = dice.choice([proxy, *workers, *clients])
    return Trouble(
        at=dice.uniform(0.0, LAST_TROUBLE_SECONDS),
        deed=deed,
        node=node,
        other=proxy,
        seconds=dice.uniform(0.1, 15.0),
        amount=dice.randint(1, 15),
        aim=dice.choice([None, *(2 * [dice.randint(1, AIM_TOKENS_MAX)])]),
    )


def _names(role: str, count: int) -> tuple[str, ...]:
    return tuple(f"{role}-{number}" for number in range(1, count + 1))
