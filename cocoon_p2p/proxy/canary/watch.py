"""One worker under the proxy's eye: when it is asked next, and what follows from what was found.

    TRUSTED --bad, once too often--> OUT --asked again after a pause--> TRUSTED if it answers well
                                      ^------------ bad: twice the pause ----|

Nothing here reads a clock or spends money; times are trio's.
"""

from dataclasses import dataclass, replace

from cocoon_p2p.proxy.canary.findings import Finding

IDLE_SECONDS = 12.0
"""A worker that has served nobody for so long is asked. With `PATIENCE_SECONDS` for the answer, a generator
that died is found within 30 s, one that answers emptily (asked twice) too."""

LOOK_SECONDS = 600.0
"However busy a worker is, its words are looked at this often: what passes to clients is sealed."

PATIENCE_SECONDS = 10.0
"To the first token. Longer than any prompt of this length takes on a machine that is worth offering."

AGAIN_SECONDS = 2.0
"After an answer that shows a fault, but may be chance."

PAUSE_FIRST_SECONDS = 30.0
PAUSE_LAST_SECONDS = 3600.0
"Out, it is asked again after pauses that double from the first to the last."

OUT_MARGIN_SECONDS = 60.0
"For how long after the pause clients are kept away until it has answered. Then it is offered, come what may."


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known of one worker by asking it."""

    asked_at: float | None = None
    good_at: float | None = None
    "When it last answered well."

    strikes: int = 0
    "Bad findings since then."

    outs: int = 0
    "How often in a row it was taken out."

    out_until: float | None = None
    "When it is asked again; None while it is trusted."

    finding: Finding | None = None
    "The last one."

    is_waiting: bool = False
    "Whether the last one was no fault of its: it is not asked again at once."


def due_at(watch: Watch, served_at: float | None, jitter: float) -> float:
    """Say when a worker is to be asked.

    Args:
        watch: The worker.
        served_at: When it last brought a client's answer to its end.
        jitter: From 0 to 1, drawn anew for each question: nobody can tell the time.
    """
    if watch.out_until is not None:
        return watch.out_until
    if watch.asked_at is None:
        return served_at if served_at is not None else 0.0
    if watch.strikes and not watch.is_waiting:
        return watch.asked_at + AGAIN_SECONDS
    share = 0.5 + jitter / 2
    seen = max(watch.good_at or 0.0, served_at or 0.0, watch.asked_at if watch.is_waiting else 0.0)
    looked = max(watch.good_at or 0.0, watch.asked_at)
    return min(seen + IDLE_SECONDS * share, looked + LOOK_SECONDS * share)


def after(watch: Watch, finding: Finding, now: float) -> Watch:
    """Reckon with what was found."""
    watch = replace(watch, asked_at=now, finding=finding, is_waiting=finding is Finding.UNTOLD)
    if finding is Finding.UNTOLD:
        return replace(watch, out_until=None if watch.out_until is None else now + IDLE_SECONDS)
    if finding is Finding.GOOD:
        return Watch(asked_at=now, good_at=now, finding=finding)
    strikes = watch.strikes + 1
    if watch.outs == 0 and strikes < finding.enough:
        return replace(watch, strikes=strikes)
    return replace(watch, strikes=strikes, outs=watch.outs + 1, out_until=now + pause(watch.outs + 1))


def pause(outs: int) -> float:
    """Say how long a worker that was taken out so often in a row is not asked."""
    return min(PAUSE_FIRST_SECONDS * 2.0 ** min(outs - 1, 20), PAUSE_LAST_SECONDS)
