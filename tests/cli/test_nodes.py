"""What a node's process does besides running the node."""

import gc
import io
import json
import weakref

from cocoon_p2p.cli.nodes import NodeSteps


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
