"""Every test here builds a network; where that cannot be done it says what is missing."""

from collections.abc import Iterator

import pytest

from tests.nat.lab import Lab, open_lab
from tests.nat.requirements import missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "nat" in item.path.parts:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def networks_can_be_built() -> None:
    if lacks := missing():
        pytest.skip(lacks)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An internet of the test's own."""
    with open_lab() as lab:
        yield lab
