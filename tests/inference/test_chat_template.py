"""Chat templates: Hugging Face's dialect, in a sandbox."""

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.chat_template import ChatTemplate
from cocoon_p2p.inference.engine import ChatMessage, FeatureMissing, RequestMalformed

HELLO = (ChatMessage("user", "Hëllo"),)


def rendered(source: str, messages: tuple[ChatMessage, ...] = HELLO) -> str:
    return ChatTemplate(source, bos="<s>", eos="</s>").render(messages)


def test_a_template_writes_messages_and_leaves_the_answer_to_the_model() -> None:
    source = (
        "{{ bos_token }}{% for message in messages %}\n  [{{ message.role }}] {{ message['content'] }}\n"
        "    {% endfor %}\n{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    messages = (ChatMessage("system", "Be brief."), *HELLO)

    assert rendered(source, messages) == "<s>  [system] Be brief.\n  [user] Hëllo\n[assistant]"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ messages[0] | tojson }}", '{"role": "user", "content": "Hëllo"}'),
        ("{% for n in [1, 2, 3] %}{% if n == 2 %}{% break %}{% endif %}{{ n }}{% endfor %}", "1"),
        ("{{ strftime_now('%%') }}", "%"),
        ("{% if tools %}tools{% else %}none{% endif %}", "none"),
        ("{{ messages[0].content.strip() }}", "Hëllo"),
    ],
)
def test_what_published_templates_use_is_there(source: str, text: str) -> None:
    assert rendered(source) == text


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ strftime_now.__globals__ }}x{{ raise_exception.__globals__['json'] }}",
        "{% for n in range(10000000) %}{% endfor %}",
    ],
)
def test_a_template_can_neither_reach_python_nor_change_or_inflate_anything(source: str) -> None:
    with pytest.raises(RequestMalformed):
        rendered(source)


def test_a_template_that_refuses_a_chat_says_why() -> None:
    source = "{{ raise_exception('roles must alternate') }}"

    with pytest.raises(RequestMalformed, match="roles must alternate"):
        rendered(source)


def test_an_error_inside_a_template_does_not_quote_the_messages() -> None:
    source = "{{ {}[messages[0].content] + 1 }}"

    with pytest.raises(RequestMalformed) as caught:
        rendered(source)

    assert "Hëllo" not in str(caught.value)


def test_a_model_without_a_template_refuses_chats_by_name() -> None:
    with pytest.raises(FeatureMissing, match="no chat template"):
        rendered("")


def test_a_template_that_is_no_jinja_is_found_when_it_is_read() -> None:
    with pytest.raises(ConfigurationError, match="line=2"):
        ChatTemplate("fine so far\n{% for %}")
