"""How what a node sells is doing, for its owner: a worker's chances with its proxies, a proxy's workers."""

from typing import Literal

import msgspec

from cocoon_p2p.control import Request, Verb
from cocoon_p2p.protocols.ids import Why


class ShowSelling(Request, tag="selling", frozen=True):
    """Ask how what the node sells is doing: a worker's chances, or a proxy's workers."""


class WhyNot(msgspec.Struct, frozen=True):
    """One reason why a worker was not chosen."""

    why: str
    "A stable word; `other-` and a number is one that this version does not know."

    times: int
    means: str
    to_do: str
    "What its owner can do about it; empty where nothing is to be done."


class StandingView(msgspec.Struct, frozen=True):
    """How one proxy takes a worker, by the proxy's word."""

    proxy: str
    is_registered: bool
    told_seconds_ago: float | None
    "None: it has told nothing yet. A proxy of an older version never does."

    counted_seconds: int = 0
    looked_at: int = 0
    "Asks for one of its models that the proxy looked back at."

    chosen: int = 0
    not_chosen: list[WhyNot] = []
    rests_seconds: float = 0.0
    "How long it is left alone yet."


class WorkerView(msgspec.Struct, frozen=True):
    """How one worker stands with a proxy."""

    worker: str
    models: list[str]
    trust: str
    slots_free: int
    slots_total: int
    is_draining: bool
    tries: float
    "How many tries an answer is expected to take."

    kept: float
    broken: float
    "Exchanges that it kept and broke, lately; faults weigh differently."

    faults: dict[str, float]
    rests_seconds: float
    rests_for: str
    canary: str
    "What came of the proxy's last own question, or why there was none."


class PriceView(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker asks for one model, and why. Prices are in nanoTON for 1,000 tokens."""

    model: str
    prompt: int
    completion: int
    follows: str
    "`market`, `nothing` (it is fixed), or a unit such as `usd`."

    why: str
    "One line for its owner."

    floor: int | None = None
    ceiling: int | None = None
    since_seconds: float = 0.0
    "For how long it has been asked."

    rate: str = ""
    "Units a TON; empty where it follows no unit."

    rate_seconds_ago: float | None = None
    is_stale: bool = False
    "Whether the source has told no rate that counts for longer than its owner allows."


class Selling(msgspec.Struct, frozen=True):
    """What there is to say of a node that sells."""

    role: Literal["worker", "proxy"]
    proxies: list[StandingView] = []
    "A worker's."

    workers: list[WorkerView] = []
    "A proxy's."

    canary_budget: int = 0
    "nanoTON an hour."

    canaries_spent: int = 0
    "nanoTON, since the proxy was started."

    prices: list[PriceView] = []
    "A worker's."


SELLING = Verb(ShowSelling, Selling)

_MEANING = {
    Why.DEARER_THAN_ASKED: (
        "your price is above what was asked for",
        "lower [price], or wait for clients who pay more",
    ),
    Why.OTHERS_CHEAPER: ("others cost less for the time that they take", "lower [price]"),
    Why.OTHERS_QUICKER: (
        "others answer sooner for their price",
        "lower [price], or look at `cocoon bench`: a quicker line, fewer slots or a smaller model may help",
    ),
    Why.OTHERS_TRUER: (
        "others broke off less often",
        "look for `engine failed` and lost connections in the log; it fades by half each hour",
    ),
    Why.DRAINING: ("you were stopping", ""),
    Why.RESTING: (
        "you had just failed or been lost, and were left alone",
        "look for what ended your exchanges in the log",
    ),
    Why.CANARY: (
        "you answered a question of the proxy's own late, emptily or wrongly",
        "ask the engine something by hand; the proxy tries again by itself, after growing pauses",
    ),
    Why.TRUST: (
        "more was asked for than is proven of your machine",
        "prove it, where you can: docs/trust.md",
    ),
    Why.FULL: ("every slot was taken", "more slots, if `cocoon bench` says that the engine has room"),
    Why.UNFIT: (
        "your model lacks what was asked: weights, kind, context or a feature",
        "a longer context, or another model",
    ),
    Why.EXCLUDED: ("the client did not want you", ""),
    Why.LOT: ("you were as good as the one that got it; lots were drawn", ""),
    Why.SILENT: (
        "the proxy had not heard from you, or your papers ran out",
        "look at the line and the clock",
    ),
    Why.ANOTHER_NAMED: ("the client named another", ""),
}


def why_not(number: int, times: int) -> WhyNot:
    """Say in plain words what a proxy gave as a reason, and what to do about it."""
    try:
        why = Why(number)
    except ValueError:
        return WhyNot(f"other-{number}", times, "a reason that this version does not know", "update")
    means, to_do = _MEANING[why]
    return WhyNot(why.code, times, means, to_do)
