"""Every test here brings up processes, which takes seconds."""

import pytest

from tests.json_schemas.judging import judged as judged


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "end_to_end" in str(item.path):
            item.add_marker(pytest.mark.slow)
