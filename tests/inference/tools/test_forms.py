"""Which way of writing calls a model knows, by its chat template, and what the template is given."""

import pytest

from cocoon_p2p.inference.chat_template import ChatTemplate
from cocoon_p2p.inference.engine import ChatMessage, RequestMalformed
from cocoon_p2p.inference.tools import form_of, written, written_tools
from cocoon_p2p.inference.tools.forms import GRANITE, HERMES, LLAMA, MISTRAL, MISTRAL_NAMED, CallForm
from cocoon_p2p.inference.wishes import Tool, ToolCall

# As the published templates say it, the rest left out.
QWEN = "{% if tools %}within <tools></tools>: {% endif %}{{ '<tool_call>\\n' }}"
QWEN_CODER = QWEN + "<function=example_function_name>\\n<parameter=example_parameter_1>"
LLAMA_3 = (
    "{% if tools is not none %}Respond in the format "
    '{"name": function name, "parameters": dictionary of argument name and its value}.{% endif %}'
)


@pytest.mark.parametrize(
    ("template", "form"),
    [
        ("", None),
        ("{{ messages }}", None),
        ("{{ tools }}", None),
        ("<tool_call> but no word of what may be called", None),
        (QWEN, HERMES),
        (QWEN_CODER, None),
        ("{{ tools }}<tool_call>{{ name }}<arg_key>", None),
        ("{{ tools }}[TOOL_CALLS]", MISTRAL),
        ("{{ tools }}[TOOL_CALLS]{{ name }}[ARGS]", MISTRAL_NAMED),
        ("{{ tools }}<|tool_call|>", GRANITE),
        (LLAMA_3, LLAMA),
    ],
)
def test_a_template_tells_the_form_or_none(template: str, form: CallForm | None) -> None:
    assert form_of(template) is form


CALL = ToolCall("a1B2c3D4e", "weather", '{"city": "Zürich", "days": 2}')


def test_a_template_gets_calls_and_answers_as_published_ones_expect_them() -> None:
    source = (
        "{% for m in messages %}{% if m.tool_calls %}{% for c in m.tool_calls %}"
        "{{ c.id }} {{ c.function.name }} {{ c.function.arguments | tojson }};"
        "{% endfor %}{% else %}{{ m.role }} {{ m.name }} {{ m.tool_call_id }} {{ m.content }};{% endif %}"
        "{% endfor %}{% for t in tools %}{{ t | tojson }}{% endfor %}"
    )
    messages = (
        ChatMessage("assistant", "", calls=(CALL,)),
        ChatMessage("tool", "Rain.", call_id=CALL.id),
    )

    text = ChatTemplate(source).render(messages, [Tool("weather", "Outside.", '{"type": "object"}')])

    assert text == (
        'a1B2c3D4e weather {"city": "Zürich", "days": 2};tool weather a1B2c3D4e Rain.;'
        '{"type": "function", "function": {"name": "weather", "description": "Outside.", '
        '"parameters": {"type": "object"}}}'
    )


def test_messages_without_calls_are_written_as_ever() -> None:
    assert written([ChatMessage("user", "Hi")]) == [{"role": "user", "content": "Hi"}]
    assert written_tools(()) is None


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_what_is_no_json_object_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(RequestMalformed, match="no JSON object") as refused:
        written([ChatMessage("assistant", "", calls=(ToolCall("id", "f", text),))])
    assert len(str(refused.value)) < 100
