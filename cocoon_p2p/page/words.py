"""How a node does, in a word and a sentence: what stands at the top of its page, and what `/readyz` says."""

from dataclasses import dataclass
from typing import Literal

from cocoon_p2p.overview.snapshot import Snapshot, StepView

Tone = Literal["good", "warn", "bad"]

_DRAINING = "it takes nothing new, and ends what runs; a restart has it work again"

_NOT_YET = {
    "worker": "no proxy offers it yet: without one nobody can ask for what it sells",
    "proxy": "it is not announced yet: nobody finds it",
    "client": "it knows nobody in the network yet",
    "bootstrap": "it has not begun to serve",
}

_DOES = {
    "worker": "it is offered, and takes what comes",
    "proxy": "it is announced, and takes what comes",
    "client": "it knows the network, and can ask",
    "bootstrap": "it serves whoever comes first to it",
}


@dataclass(frozen=True, slots=True)
class State:
    """A node's state at a glance."""

    word: str
    tone: Tone
    sentence: str
    remedy: str = ""


def state_of(snapshot: Snapshot) -> State:
    """Say how a node does."""
    if snapshot.load is not None and snapshot.load.is_draining:
        return State("draining", "warn", _DRAINING)
    if snapshot.is_ready:
        return State("ready", "good", _DOES[snapshot.role])
    stuck = _stuck(snapshot)
    if stuck is None:
        return State("not ready", "warn", _NOT_YET[snapshot.role])
    how = "failed" if stuck.status == "failed" else "is late"
    why = stuck.facts.get("why", "")
    sentence = f"the step `{stuck.step}` {how}{': ' + why if why else ''}"
    return State("not ready", "bad" if stuck.status == "failed" else "warn", sentence, stuck.remedy)


def why_not_ready(snapshot: Snapshot) -> str:
    """Say in one line why a node is not ready, and what to do; empty: it is."""
    if snapshot.is_ready:
        return ""
    state = state_of(snapshot)
    return f"{state.word}: {state.sentence}{'; ' + state.remedy if state.remedy else ''}"


def _stuck(snapshot: Snapshot) -> StepView | None:
    """Find what the node waits for: what failed before what is late."""
    # A page that is missing hinders nothing.
    steps = [each for each in snapshot.steps if each.step != "page"]
    for status in ("failed", "waiting"):
        for step in steps:
            if step.status == status:
                return step
    return None
