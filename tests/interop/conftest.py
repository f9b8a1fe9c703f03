"""Every test here talks to a peer in another process; where that peer is missing it says what to install."""

import os

import pytest

from tests.interop import go_peer, scene

REQUIRED = "COCOON_TESTS_NEED_PEERS"
"Where this variable is set, a machine without a peer fails the tests that need it."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "interop" in str(item.path):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def peer_is_installed(request: pytest.FixtureRequest) -> None:
    peer = go_peer if "go" in request.path.stem.split("_") else scene
    if lacks := peer.missing():
        if REQUIRED in os.environ:
            pytest.fail(lacks)
        pytest.skip(lacks)
