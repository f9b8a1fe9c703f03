"""Every test here talks to a peer in another process; where that peer is missing it says what to install."""

import os

import pytest

from tests.interop.scene import missing

REQUIRED = "COCOON_TESTS_NEED_NODE"
"Where this variable is set, a machine without the peer fails the tests that need it."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "interop" in str(item.path):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def peer_is_installed() -> None:
    if lacks := missing():
        if REQUIRED in os.environ:
            pytest.fail(lacks)
        pytest.skip(lacks)
