"""What is said where speech cannot be served."""

import importlib.util
from pathlib import Path

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.whisper import open_whisper


@pytest.mark.skipif(importlib.util.find_spec("ctranslate2") is not None, reason="the library is here")
async def test_where_the_library_is_missing_it_is_said_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        async with open_whisper(tmp_path):
            pass

    assert "cocoon-p2p[speech]" in (caught.value.hint or "")


async def test_a_context_of_less_than_a_second_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="too short"):
        async with open_whisper(tmp_path, context_tokens=50):
            pass
