"""`cocoon ask` and `cocoon embed` beyond text, against a whole network in this process."""

import json
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from cocoon_p2p.cli import main
from cocoon_p2p.inference.engine import GenerateRequest
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_vector
from cocoon_p2p.testing.overlay import open_overlay
from tests.overlay.test_beyond_text import CALL, MODELS, PICTURE, WEATHER, script

Cocoon = Callable[..., tuple[int, str]]
MODEL = ("--model", "scripted")


@pytest.fixture
def asked() -> list[GenerateRequest]:
    """What came to the engine."""
    return []


@pytest.fixture
def cocoon(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: list[GenerateRequest]
) -> Cocoon:
    """Run a command whose client lives in a network of its own."""

    async def within(use: Callable[[Any], Awaitable[None]]) -> None:
        engine = ScriptedEngine(script, models=MODELS)
        async with open_overlay(engines=[engine]) as overlay:
            await use(overlay.client)
        asked.extend(engine.requests)

    def run_client(_config: Path, use: Callable[[Any], Awaitable[None]]) -> None:
        trio.run(within, use, clock=trio.testing.MockClock(autojump_threshold=0))

    def run(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
            raise SystemExit(0)
        shown = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, shown.out if ended.value.code == 0 else shown.err

    for module in ("ask", "embed"):
        monkeypatch.setattr(f"cocoon_p2p.cli.{module}.run_client", run_client)
    return run


def test_tools_are_read_from_a_file_and_what_is_called_is_shown(cocoon: Cocoon, tmp_path: Path) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([WEATHER]))

    code, shown = cocoon("ask", "How warm is it?", *MODEL, "--tools", tools, "--tool-choice", "weather")
    _, facts = cocoon("ask", "How warm is it?", *MODEL, "--tools", tools, "--json")

    assert (code, shown) == (0, 'Let me look.\nweather({"town": "Tashkent"})\n')
    assert json.loads(facts)["tool_calls"] == [
        {"id": CALL.id, "name": CALL.name, "arguments": CALL.arguments}
    ]
    assert json.loads(facts)["finish_reason"] == "tool_calls"


def test_a_picture_and_a_schema_go_with_the_question(
    cocoon: Cocoon, asked: list[GenerateRequest], tmp_path: Path
) -> None:
    picture, schema = tmp_path / "picture.png", tmp_path / "schema.json"
    picture.write_bytes(PICTURE)
    schema.write_text('{"type": "object"}')

    code, _ = cocoon("ask", "What is it?", *MODEL, "--image", picture, "--image", picture, "--schema", schema)

    assert code == 0
    assert asked[0].messages[0].images == (PICTURE, PICTURE)
    assert asked[0].constraint is not None
    assert asked[0].constraint.text == '{"type": "object"}'


def test_likelihoods_are_told_in_json_alone(cocoon: Cocoon) -> None:
    code, facts = cocoon("ask", "Hello", *MODEL, "--logprobs", 1, "--json")
    refused, says = cocoon("ask", "Hello", *MODEL, "--logprobs", 1)

    assert code == 0
    assert json.loads(facts)["logprobs"][0] == {
        "token": "It ",
        "logprob": -0.75,
        "top": [{"token": "It ", "logprob": -0.75}],
    }
    assert (refused, "say --json too" in says) == (2, True)


@pytest.mark.parametrize(
    ("written", "arguments", "says"),
    [
        ("{", ["--schema"], "no JSON"),
        ("[1]", ["--schema"], "no JSON object"),
        ("{}", ["--tools"], "tools are a list"),
        ("[[" * 100_000, ["--tools"], "no JSON"),
        ("\udcff", ["--schema"], "not UTF-8"),
        ("neither", ["--image"], "neither PNG nor JPEG"),
        ("{}", ["--json-object", "--schema"], "one form"),
    ],
)
def test_a_file_that_will_not_do_is_refused_before_anybody_is_asked(
    cocoon: Cocoon, tmp_path: Path, written: str, arguments: list[str], says: str
) -> None:
    file = tmp_path / "file"
    file.write_text(written, errors="surrogateescape")

    code, shown = cocoon("ask", "Hello", *arguments, file)

    assert (code, says in shown) == (2, True), shown


def test_texts_are_embedded_a_line_each(cocoon: Cocoon) -> None:
    code, lines = cocoon("embed", "a moth", "a cocoon")
    _, facts = cocoon("embed", "a moth", "--json")

    expected = [struct.unpack("<4f", scripted_vector(text)) for text in ("a moth", "a cocoon")]
    assert code == 0
    assert [tuple(map(float, line.split())) for line in lines.splitlines()] == expected
    assert json.loads(facts)["vectors"] == [list(expected[0])]
    assert json.loads(facts)["usage"]["completion_tokens"] == 0
