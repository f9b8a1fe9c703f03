"""Models that are the demo model but for one change."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cocoon_p2p.inference.catalogue import demo_model


@pytest.fixture
def demo_with(tmp_path: Path) -> Callable[[bytes, bytes], Path]:
    """Make a copy of the demo model in which some bytes are others, as many."""

    def changed(old: bytes, new: bytes) -> Path:
        data = demo_model().read_bytes()
        assert data.count(old) == 1
        assert len(old) == len(new)
        copy = tmp_path / "changed.gguf"
        copy.write_bytes(data.replace(old, new))
        return copy

    return changed


@pytest.fixture
def demo_cut(tmp_path: Path) -> Callable[[int], Path]:
    """Make a copy of the demo model that ends early."""

    def cut(size: int) -> Path:
        copy = tmp_path / "cut.gguf"
        copy.write_bytes(demo_model().read_bytes()[:size])
        return copy

    return cut
