"""Tool calls out of an answer's text, however it is cut."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.inference.tools.call_reader import (
    CALL_SIZE_MAX_CHARACTERS,
    NO_CALLS_MAX,
    CallReader,
    Read,
)
from cocoon_p2p.inference.tools.forms import GRANITE, HERMES, LLAMA, MISTRAL, MISTRAL_NAMED, CallForm
from cocoon_p2p.inference.wishes import ToolCall
from cocoon_p2p.protocols.ids import CALLS_MAX

NAMES: Final = frozenset({"f", "look-up"})
FORMS: Final = (HERMES, MISTRAL, MISTRAL_NAMED, GRANITE, LLAMA)


def read_all(form: CallForm, *steps: str) -> tuple[str, list[tuple[str, str]]]:
    """Read an answer that comes in these steps: its text, and name and arguments of each call."""
    text, calls = "", list[ToolCall]()
    for read in reads(form, *steps):
        text += read.text
        calls += read.calls
    return text, [(call.name, call.arguments) for call in calls]


def reads(form: CallForm, *steps: str) -> list[Read]:
    reader, found = CallReader(form, NAMES, lambda: "id"), list[Read]()
    for tokens, step in enumerate(steps, start=1):
        reader, read = reader.feed(step, tokens)
        found.append(read)
    return [*found, reader.end()]


CALL: Final = ("f", '{"a": 1.0}')


@pytest.mark.parametrize(
    ("form", "answer", "text", "calls"),
    [
        (HERMES, '<tool_call>\n{"name": "f", "arguments": {"a": 1.0}}\n</tool_call>', "", [CALL]),
        (HERMES, 'So: <tool_call>{"arguments": {"a": 1.0}, "name": "f"}</tool_call>', "So: ", [CALL]),
        (
            HERMES,
            '<tool_call>{"name": "f", "arguments": {"a": 1.0}}</tool_call>\n'
            '<tool_call>{"name": "look-up", "arguments": {}}</tool_call>\nDone.',
            "\nDone.",
            [CALL, ("look-up", "{}")],
        ),
        (HERMES, '<tool_call>{"name": "f", "arguments": {"a": "}</tool_call>"}}</tool_call>', "", [
            ("f", '{"a": "}</tool_call>"}')
        ]),
        (HERMES, 'a < b <tool_call>{"name": "f", "arguments": {"a": 1.0}} so', "a < b  so", [CALL]),
        (MISTRAL, '[TOOL_CALLS] [{"name":"f","arguments":{"a": 1.0}}, {"name": "f", "arguments":{}}]', "", [
            CALL, ("f", "{}")
        ]),
        (MISTRAL_NAMED, '[TOOL_CALLS]f[ARGS]{"a": 1.0}[TOOL_CALLS]look-up[CALL_ID]a1B2c3D4e[ARGS]{}', "", [
            CALL, ("look-up", "{}")
        ]),
        (GRANITE, '<|tool_call|>[{"name": "f", "arguments": {"a": 1.0}}]<|/tool_call|>', "", [CALL]),
        (LLAMA, '{"name": "f", "parameters": {"a": 1.0}}', "", [CALL]),
        (LLAMA, '<|python_tag|>{"name": "f", "parameters": {"a": 1.0}}; {"name":"f", "parameters":{}}', "", [
            CALL, ("f", "{}")
        ]),
    ],
)  # fmt: skip
def test_calls_are_read_as_models_write_them(
    form: CallForm, answer: str, text: str, calls: list[tuple[str, str]]
) -> None:
    assert read_all(form, answer) == (text, calls)
    assert read_all(form, *answer) == (text, calls)


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        (HERMES, "<tool_call>nothing</tool_call>"),
        (HERMES, '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>'),
        (HERMES, '<tool_call>{"name": "f", "arguments": [1]}</tool_call>'),
        (HERMES, '<tool_call>{"name": "f", "arguments": {"a": NaN}}</tool_call>'),
        (HERMES, '<tool_call>{"name": "f"}</tool_call>'),
        (HERMES, '<tool_call>{"name": "f", "arguments": {"a": 1'),
        (HERMES, "<tool_call>[]"),
        (HERMES, '<tool_call>{"name": "f", "arguments": ' + '{"a":' * 2_000 + "1" + "}" * 2_000 + "}"),
        (HERMES, "a <tool_c"),
        (HERMES, "<tool_call>" * 3),
        (MISTRAL_NAMED, "[TOOL_CALLS]unknown[ARGS]{}"),
        (MISTRAL_NAMED, "[TOOL_CALLS]f[ARGS][1]"),
        (MISTRAL_NAMED, "[TOOL_CALLS]" + "x" * 200),
        (LLAMA, '{"name": "f", "arguments": {}}'),
        (LLAMA, ' {"a": 1} is JSON and {"name": "f", "parameters": {}} no answer\'s beginning'),
        (LLAMA, " \n"),
    ],
)
def test_what_is_no_call_comes_out_as_it_was_written(form: CallForm, answer: str) -> None:
    assert read_all(form, *answer) == (answer, [])


def test_a_call_that_never_ends_is_text_at_its_bound() -> None:
    begun = '<tool_call>{"name": "f", "arguments": {"a": "'

    *early, late, _ = reads(HERMES, begun, "x" * CALL_SIZE_MAX_CHARACTERS, "y")

    assert [read.text for read in early] == ["", begun + "x" * CALL_SIZE_MAX_CHARACTERS]
    assert late.text == "y"


@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_call_again_and_again_is_text_from_then_on(form: CallForm) -> None:
    """Each beginning is within the one before, so each is read up to the same end."""
    begin = form.begin + (f"f{form.arguments_marker}" if form.arguments_marker else "") + "{"
    steps = [begin] * (NO_CALLS_MAX + 9) + ["}"] * (NO_CALLS_MAX + 9) + ["so", form.begin[:3], "!"]

    *_, before, begun, last, end = reads(form, *steps)

    assert read_all(form, *steps) == ("".join(steps), [])
    assert (before.text[-2:], begun.text, last.text, end.text) == ("so", form.begin[:3], "!", "")


def test_naming_what_begins_a_call_is_no_failed_call() -> None:
    named = "Write <tool_call> first. " * (NO_CALLS_MAX + 1)

    assert read_all(HERMES, named, '<tool_call>{"name": "f", "arguments": {"a": 1.0}}') == (named, [CALL])


def test_more_calls_than_a_message_may_have_are_text() -> None:
    one = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'

    text, calls = read_all(HERMES, one * (CALLS_MAX + 1))

    assert (text, len(calls)) == (one, CALLS_MAX)


def test_tokens_count_with_their_text_or_with_their_call() -> None:
    found = reads(HERMES, "So", ": <tool", "_call>", '{"name": "f", "argu', 'ments": {}}', "</tool_call>")

    assert [(read.text, read.completion_tokens, len(read.calls)) for read in found] == [
        ("So", 1, 0),
        ("", 1, 0),
        (": ", 2, 0),
        ("", 2, 0),
        ("", 5, 1),
        ("", 6, 0),
        ("", 6, 0),
    ]


def answers(form: CallForm) -> st.SearchStrategy[str]:
    """Answers of all kinds of what a call is made of, right and wrong."""
    right = f'{{"name": "f", "{form.arguments_key}": {{"a": "\\"{{}}"}}}}'
    parts = (form.begin, form.end, form.arguments_marker, right, f"[{right}]", "f", "{}", "[CALL_ID]")
    return st.lists(st.sampled_from([*parts, *" \n;{}[]\",a<'"]), max_size=12).map("".join)


@given(data=st.data(), form=st.sampled_from(FORMS))
def test_any_cutting_gives_the_same_calls_and_the_same_text(data: st.DataObject, form: CallForm) -> None:
    answer = data.draw(answers(form))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(answer)))))

    steps = [answer[start:end] for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]

    assert read_all(form, *steps) == read_all(form, answer)


@given(data=st.data(), form=st.sampled_from(FORMS))
def test_every_character_but_those_of_calls_is_delivered_and_every_token_counts(
    data: st.DataObject, form: CallForm
) -> None:
    answer = data.draw(answers(form))

    found = reads(form, *answer)

    counts = [read.completion_tokens for read in found]
    assert counts == sorted(counts)
    assert counts[-1] == len(answer)
    if not any(read.calls for read in found):
        assert "".join(read.text for read in found) == answer
