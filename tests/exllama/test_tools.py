"""Tools are offered by the model's own template, and calls are taken out of what it writes."""

import json
import shutil
from collections.abc import AsyncIterator

import pytest
import trio

from cocoon_p2p.inference.engine import Engine, Feature, FeatureMissing, Finish, Piece
from cocoon_p2p.inference.exllama.form import Form, Forms
from cocoon_p2p.inference.exllama.model_folder import ModelFolder, read_folder
from cocoon_p2p.inference.exllama.splitting import Splitter
from cocoon_p2p.inference.tools import CallForm
from cocoon_p2p.inference.tools.forms import HERMES
from cocoon_p2p.inference.wishes import Constraint, Grammar, Tool, ToolUse
from tests.exllama.asking import BOUND_SECONDS, chat, pieces_of, text
from tests.exllama.conftest import Bench

TEMPLATE = """{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}<|im_start|>assistant
"""
SIZE = {"type": "integer", "minimum": 0, "maximum": 9}
SHOPS = Tool(
    "find_shops",
    "Finds shops.",
    json.dumps(
        {
            "type": "object",
            "properties": {"open": {"type": "boolean"}, "size": {"$ref": "#/$defs/size"}},
            "required": ["open", "size"],
            "additionalProperties": False,
            "$defs": {"size": SIZE},
        }
    ),
)
HOSTILE = (
    Tool("deep", "", '{"type": "object", "properties": ' * 500 + "{}" + "}" * 500),
    Tool("odd", "", '{"type": "object", "not": {"type": "string"}}'),
    Tool("no_json", "", "{"),
)


@pytest.fixture(scope="session")
def calling(folder: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    path = tmp_path_factory.mktemp("calling") / "cocoon-demo"
    shutil.copytree(folder.path, path)
    (path / "chat_template.jinja").write_text(TEMPLATE)
    return read_folder(path)


@pytest.fixture
async def engine(calling: ModelFolder) -> AsyncIterator[Engine]:
    with trio.fail_after(BOUND_SECONDS):
        async with Bench(calling).open() as engine:
            yield engine


def calls(pieces: list[Piece]) -> list[tuple[str, object]]:
    return [(call.name, json.loads(call.arguments)) for piece in pieces for call in piece.calls]


async def test_who_must_call_calls_by_the_tool_s_own_schema(engine: Engine) -> None:
    for temperature in (0.0, 1.5):
        request = chat(
            "Hello", tools=(SHOPS,), tool_use=ToolUse.REQUIRED, temperature=temperature, seed=4,
            completion_tokens_max=400,
        )  # fmt: skip
        pieces = await pieces_of(engine, request)

        assert text(pieces).strip() == ""
        found = calls(pieces)
        assert found
        for name, arguments in found:
            assert name == "find_shops"
            assert isinstance(arguments, dict)
            assert (type(arguments["open"]), type(arguments["size"])) == (bool, int)
        assert pieces[-1].finish is Finish.TOOL_CALLS


async def test_a_call_is_taken_out_of_the_text_where_a_model_may_call(engine: Engine) -> None:
    said = 'Well. <tool_call>{"name": "find_shops", "arguments": {"size": 1}}</tool_call>'
    word_by_word = Constraint(Grammar.REGEX, said.replace("{", r"\{").replace("}", r"\}").replace(".", r"\."))
    for use, found in ((ToolUse.AUTO, [("find_shops", {"size": 1})]), (ToolUse.NONE, [])):
        request = chat("Hello", tools=(SHOPS,), tool_use=use, constraint=word_by_word, logprobs=0)
        pieces = await pieces_of(engine, request)

        assert calls(pieces) == found
        assert text(pieces).strip() == ("Well." if found else said)
        assert pieces[-1].finish is (Finish.TOOL_CALLS if found else Finish.STOP)


async def test_what_is_offered_is_in_the_prompt_and_paid_for(engine: Engine) -> None:
    free = await engine.count(chat("Hello"))
    offered = await engine.count(chat("Hello", tools=(SHOPS,)))
    hidden = await engine.count(chat("Hello", tools=(SHOPS,), tool_use=ToolUse.NONE))

    assert offered.prompt_tokens > free.prompt_tokens + 50
    assert hidden == free


def test_schemas_that_mean_harm_are_any_object(folder: ModelFolder) -> None:
    splitter = Splitter(folder)
    forms = Forms(folder, splitter.vocabulary())
    for tool in HOSTILE:
        said = f'<tool_call>{{"name": "{tool.name}", "arguments": {{"any": ["thing"]}}}}</tool_call>'
        tokens = splitter._plain.encode(said, add_special_tokens=False).ids

        assert not forms.make_calls(HERMES, (tool,), tokens).has_failed


async def test_a_model_without_a_way_of_calling_has_no_tools(bench: Bench) -> None:
    with trio.fail_after(BOUND_SECONDS):
        async with bench.open() as engine:
            (card,) = engine.capabilities.models
            assert Feature.TOOLS not in card.features
            with pytest.raises(FeatureMissing, match="tools"):
                await engine.count(chat("Hello", tools=(SHOPS,)))


@pytest.mark.parametrize(
    ("call_form", "written"),
    [
        (CallForm("named", "[TOOL_CALLS]", arguments_marker="[ARGS]"), "[TOOL_CALLS]find_shops[ARGS]{}"),
        (
            CallForm("list", "<|tool_call|>", is_list=True),
            '<|tool_call|>[{"name": "find_shops", "arguments": {}}]',
        ),
        (
            CallForm("bare", "<|python_tag|>", arguments_key="parameters", may_begin_bare=True),
            '{"name": "find_shops", "parameters": {}}',
        ),
    ],
)
def test_each_way_of_writing_calls_can_be_forced(
    folder: ModelFolder, call_form: CallForm, written: str
) -> None:
    splitter = Splitter(folder)
    forms = Forms(folder, splitter.vocabulary())
    tokens = splitter._plain.encode(written, add_special_tokens=False).ids

    form: Form = forms.make_calls(call_form, (Tool("find_shops", "", ""),), tokens)
    assert {end for end in folder.eos_ids if form.allowed()[end // 8] >> (end % 8) & 1} == folder.eos_ids


def test_a_mark_that_is_a_control_token_is_forced_as_that_token(folder: ModelFolder) -> None:
    splitter = Splitter(folder)
    forms = Forms(folder, splitter.vocabulary())
    form = forms.make_calls(CallForm("control", "<|im_start|>"), (SHOPS,), [])

    begin = splitter.vocabulary()["<|im_start|>"]
    allowed = int.from_bytes(form.allowed(), "little")
    assert allowed == 1 << begin


def test_an_end_token_takes_no_form_on_and_is_not_taken_back(folder: ModelFolder) -> None:
    tokens = Splitter(folder).vocabulary()
    form = Forms(folder, tokens).make(Constraint(Grammar.REGEX, "a?b?"), [])
    form.take(tokens["a"])
    expected, drawn = form.allowed(), [min(folder.eos_ids), tokens["b"]]
    for token in drawn:
        form.take(token)
    form.take_back(drawn)

    assert form.allowed() == expected
