"""Every test here brings a network of processes up, harms it, and takes its time."""

from collections.abc import Iterator

import pytest

from tests.nat.lab import Lab, open_lab
from tests.nat.requirements import missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "chaos" in item.path.parts:
            item.add_marker(pytest.mark.long)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An internet of the test's own, so that every process keeps its address when it comes back."""
    if lacks := missing():
        pytest.skip(lacks)
    with open_lab() as lab:
        yield lab
