"""What truly happened in a run, and in many: a trouble that never strikes proves nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from cocoon_p2p.testing.simulation.customers import Outcome
from cocoon_p2p.testing.simulation.plan import Deed, Plan

EXCHANGE = "exchange"
CONTINUATION = "continuation"
CONTINUED_AGAIN = "continued more than once"
LYING_RECORD = "lying record"
"A worker that says it is quicker, or has more room, than it is or has."


def tally(
    plan: Plan, struck: Mapping[Deed, int], outcomes: Iterable[Outcome], exchanges: int
) -> Mapping[str, int]:
    """Count what happened in one run. What did not happen is there too, with 0."""
    counts = Counter({deed.value: struck.get(deed, 0) for deed in Deed})
    counts[LYING_RECORD] = sum(bench.lies for bench in plan.workers)
    counts[EXCHANGE] = exchanges
    for outcome in outcomes:
        counts["another worker or proxy tried"] += outcome.attempts > 1
        counts[CONTINUATION] += outcome.breaks > 0
        counts["continued to its end"] += outcome.breaks > 0 and outcome.finish is not None
        counts[CONTINUED_AGAIN] += outcome.breaks > 1
        counts["cancel"] += outcome.was_cancelled
        counts["reader left"] += outcome.wish.leave_at is not None and outcome.error is None
        counts["deadline"] += outcome.error == "deadline"
        counts["client died in the midst"] += outcome.was_killed
    return dict(counts)


def told(runs: Sequence[Mapping[str, int]]) -> str:
    """Say how often each thing happened, and in what share of the runs."""
    total, seeds = Counter[str](), Counter[str]()
    for run in runs:
        total.update(run)
        seeds.update(name for name, count in run.items() if count)
    words = [f"{name} {count} ({100 * seeds[name] // len(runs)} %)" for name, count in total.items()]
    return "how often (and in how many of the seeds): " + ", ".join(words)
