"""Chat templates: Hugging Face's dialect, in a sandbox."""

import gc
import os
import select
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference import chat_template
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
        ("{{ {'b': 1, 'a': 'é'} | tojson(sort_keys=true, separators=(',', ':')) }}", '{"a":"é","b":1}'),
        ("{{ {'a': 'é'} | tojson(ensure_ascii=true, indent=1) }}", '{\n "a": "\\u00e9"\n}'),
        ("{% generation %}{% set a = 1 %}{{ a }}{% endgeneration %}{{ a is defined }}", "1False"),
        ("{{ documents is none and tools is none and unk_token is not defined }}", "True"),
        ("{{ bos_token + eos_token }}", "<s></s>"),
        ("{{ strftime_now('%d') | length }}", "2"),
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


HUNGRY = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "strings": "{% set s = namespace(t='x' * 4096) %}"
    "{% for n in range(40) %}{% set s.t = s.t ~ s.t %}{% endfor %}",
    "filters": "{{ 'x' | center(messages[0].content | length * 10 ** 10) }}",
    "powers": "{{ 9 ** (9 ** (4 + messages[0].content | length)) }}",
    "endless text": "{{ (messages[0].content * 10 ** 8) | length }}{{ messages[0].content * 10 ** 8 }}",
}


@pytest.mark.slow
@pytest.mark.parametrize("source", HUNGRY.values(), ids=HUNGRY)
def test_a_template_that_would_take_all_time_or_memory_is_refused_and_the_next_chat_is_not(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies in wait for one word: Jinja's sandbox alone would hang here."""
    template = ChatTemplate("{% if messages[0].content == 'attack' %}" + source + "{% endif %}fine")
    monkeypatch.setattr(chat_template, "RENDER_SECONDS", 2.0)

    with pytest.raises(RequestMalformed, match=r"too long or too much memory|error="):
        template.render([ChatMessage("user", "attack")])

    monkeypatch.setattr(chat_template, "RENDER_SECONDS", 60.0)
    assert template.render([ChatMessage("user", "defence")]) == "fine"


@pytest.mark.slow
@pytest.mark.parametrize("source", ["{{ 9 ** (9 ** 12) }}", "{{ 'x' * 10 ** 11 }}"])
def test_a_template_that_does_so_while_it_is_read_is_never_served(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jinja computes what is constant when it compiles."""
    monkeypatch.setattr(chat_template, "START_SECONDS", 2.0)

    with pytest.raises((ConfigurationError, RequestMalformed)):
        rendered(source)


def test_a_template_of_absurd_length_is_not_even_read() -> None:
    with pytest.raises(ConfigurationError, match="too long"):
        ChatTemplate("x" * (chat_template.SOURCE_SIZE_MAX + 1))


def test_a_template_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the sandbox broken some day, there is nothing to be found."""
    monkeypatch.setenv("HF_TOKEN", "secret")

    before = children()

    template = ChatTemplate("fine")

    (pid,) = children() - before
    assert template.render(HELLO) == "fine"
    assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_the_process_of_a_template_ends_with_it() -> None:
    before = children()
    template = ChatTemplate("fine")
    (pid,) = children() - before

    del template
    gc.collect()

    assert pid not in children()


@pytest.mark.slow
def test_a_template_does_not_outlive_a_process_that_was_killed() -> None:
    code = (
        "import sys\nfrom cocoon_p2p.inference.chat_template import ChatTemplate\n"
        "template = ChatTemplate('fine')\nprint('ready', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (pid,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        handle = os.pidfd_open(int(pid))
        process.kill()

    # Readable once it has ended.
    assert select.select([handle], [], [], 60)[0] == [handle]
    os.close(handle)


def test_many_threads_may_render_at_once() -> None:
    template = ChatTemplate("{{ messages[0].content }}")
    words = [f"word {number}" for number in range(50)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda word: template.render([ChatMessage("user", word)]), words))

    assert found == words


def test_a_long_chat_is_rendered_whole() -> None:
    template = ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}")
    word = "ж\u0000\U0001f600" * 10_000

    assert template.render([ChatMessage("user", word)] * 20) == word * 20


def children() -> set[str]:
    """The processes that render for us."""
    own = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {pid for pid in own if b"jinja_child" in Path(f"/proc/{pid}/cmdline").read_bytes()}


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
