"""The log is a line for people or an object for machines, with the same facts."""

import io
import json
import logging
from collections.abc import Iterator

import httpx
import pytest

from cocoon_p2p.observability import configure_logging


@pytest.fixture(autouse=True)
def _restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_carries_the_event_and_its_facts() -> None:
    stream = io.StringIO()
    configure_logging(stream, level="info", as_json=True)

    logging.getLogger("cocoon_p2p.x").info("voucher saved", extra={"channel": "ab12", "cumulative": 5})

    entry = json.loads(stream.getvalue())
    assert entry["event"] == "voucher saved"
    assert entry["cumulative"] == 5
    assert entry["level"] == "info"


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_what_a_server_says_beside_its_answer_is_not_logged(level: str) -> None:
    stream = io.StringIO()
    configure_logging(stream, level=level, as_json=False)

    words = {"reason_phrase": b"my secret words"}
    transport = httpx.MockTransport(lambda _: httpx.Response(400, extensions=words))
    async with httpx.AsyncClient(transport=transport) as http:
        await http.get("http://server/v1/models?key=secret")

    assert "secret" not in stream.getvalue()


def test_text_carries_the_same_facts() -> None:
    stream = io.StringIO()
    configure_logging(stream, level="info", as_json=False)

    logging.getLogger("x").warning("worker lost", extra={"peer": "12D3"})

    assert stream.getvalue().endswith("warning worker lost  peer=12D3\n")


def test_a_level_below_the_configured_one_is_silent() -> None:
    stream = io.StringIO()
    configure_logging(stream, level="warning", as_json=False)

    logging.getLogger("x").info("nothing to see")

    assert stream.getvalue() == ""


def test_a_peers_words_neither_steer_the_terminal_nor_pass_for_a_line_of_ours() -> None:
    stream = io.StringIO()
    configure_logging(stream, level="warning", as_json=False)

    logging.getLogger("x").warning(
        "the payee refused", extra={"detail": "\x1b[2J\n12:00:00 error pay 12D3\x9b\u202e"}
    )
    try:
        raise ValueError("said \x1b[2J")
    except ValueError:
        logging.getLogger("x").exception("failed")

    lines = stream.getvalue().splitlines()
    assert lines[0].endswith(r"detail=\x1b[2J\n12:00:00 error pay 12D3\x9b\u202e")
    assert lines[1].endswith("error failed")
    assert lines[-1] == r"ValueError: said \x1b[2J"
