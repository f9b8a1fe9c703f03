"""What a node's process does besides running the node."""

import gc
import io
import json
import weakref

from cocoon_p2p.cli.nodes import NodeSteps
from cocoon_p2p.cli.steps import StepPrinter


class Knot:
    """Something that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


def test_from_when_a_node_is_ready_only_what_is_new_is_looked_through_for_garbage() -> None:
    out = io.StringIO()
    steps, before = NodeSteps(as_json=True, out=out), gc.get_freeze_count()
    try:
        steps("listening")
        assert gc.get_freeze_count() == before

        steps("ready")
        knot = weakref.ref(Knot())
        gc.collect()

        assert gc.get_freeze_count() > 1000
        assert len(gc.get_objects()) < gc.get_freeze_count()
        assert knot() is None
    finally:
        gc.unfreeze()
    assert [json.loads(line)["step"] for line in out.getvalue().splitlines()] == ["listening", "ready"]


def test_a_person_sees_what_is_late_with_what_to_do_and_nothing_of_a_peers_escapes() -> None:
    out = io.StringIO()
    steps = StepPrinter(as_json=False, out=out)

    steps("bootstrap", status="waiting", hint="check [network] bootstrap", waited_seconds=10.0)
    steps("registered", status="failed", hint="they say \x1b[2J\nready")
    steps("first job", model="demo", tokens=28, income=1_560)
    steps("warm-up", tokens_per_second=None)

    lines = [line[11:].strip() for line in out.getvalue().splitlines()]
    assert lines == [
        "bootstrap    waiting: for 10.0 s",
        "check [network] bootstrap",
        "registered   failed:",
        "they say \N{REPLACEMENT CHARACTER}[2J ready",
        "first job    demo  28 tokens  1,560 nanoTON",
        "warm-up",
    ]


def test_a_program_is_told_the_status_of_every_step() -> None:
    out = io.StringIO()
    steps = StepPrinter(as_json=True, out=out)

    steps("ready")
    steps("gas", status="failed", hint="name a wallet")

    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(each["step"], each["status"], each.get("hint")) for each in told] == [
        ("ready", "ok", None),
        ("gas", "failed", "name a wallet"),
    ]
