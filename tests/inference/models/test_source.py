"""Where a model comes from, as it is written."""

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.models.source import (
    HubSource,
    UrlSource,
    default_name,
    is_loopback,
    origin,
    parse_source,
)


@pytest.mark.parametrize(
    ("text", "revision", "name"),
    [
        ("hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf", "", "qwen3-0.6b-q8_0"),
        ("hf:o/r/Q4/Big-00001-of-00003.gguf", "", "big"),
        ("hf:turboderp/Llama-3-8B-exl2", "4.0bpw", "llama-3-8b-exl2-4.0bpw"),
        ("hf:o/Model", "0123456789abcdef0123456789abcdef01234567", "model"),
        ("https://host.example/some/My%20Model.gguf?download=true", "", "my-model"),
        ("https://host.example/__.gguf", "", "model"),
    ],
)
def test_a_model_is_called_by_its_file_or_its_repository(text: str, revision: str, name: str) -> None:
    assert default_name(parse_source(text, revision)) == name


def test_an_address_on_the_hub_names_the_revision_and_is_quoted() -> None:
    source = parse_source("hf:o/r/a (1).gguf", "refs/pr/1")

    assert isinstance(source, HubSource)
    assert source.url("https://hub", source.path) == "https://hub/o/r/resolve/refs%2Fpr%2F1/a%20%281%29.gguf"


def test_a_file_beside_another_keeps_the_query() -> None:
    source = parse_source("https://host.example/dir/a.gguf?key=1")

    assert isinstance(source, UrlSource)
    assert source.beside("b c.gguf") == "https://host.example/dir/b%20c.gguf?key=1"


@pytest.mark.parametrize(
    "text",
    [
        "", "hf:", "hf:gpt2", "hf:o/../r", "hf:o/r/../../x", "hf:o/r//a.gguf", "hf:/o/r", "hf:o/r/.hidden",
        "hf:o/r/a\n.gguf", "hf:o/r/a?b.gguf", "file:///etc/passwd", "ftp://host/a.gguf", "https://", "https:///a",
        "https://host.example", "https://host.example/", "https://host:port/a.gguf", "https://[::1/a.gguf",
        "https://host/%2e%2e%2fa.gguf", "https://host/%00.gguf", "model.gguf", "/etc/passwd",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_source(text)


@pytest.mark.parametrize("revision", ["../main", "a..b", "a b", "-x", "a?b", "x" * 300])
def test_an_odd_revision_is_refused(revision: str) -> None:
    with pytest.raises(ConfigurationError, match="not a revision"):
        parse_source("hf:o/r", revision)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_source("https://user:secret@host.example/a.gguf")

    assert "secret" not in str(caught.value)


def test_a_url_has_no_revision() -> None:
    with pytest.raises(ConfigurationError, match="no revision"):
        parse_source("https://host.example/a.gguf", "main")


@pytest.mark.parametrize(
    ("url", "is_here"),
    [
        ("http://127.0.0.1:80/a", True), ("http://[::1]/a", True), ("http://localhost/a", True),
        ("http://127.0.0.1.example.org/a", False), ("http://10.0.0.1/a", False),
        ("http://localhost.example/a", False),
    ],
)  # fmt: skip
def test_loopback_is_this_machine_only(url: str, is_here: bool) -> None:
    assert is_loopback(url) is is_here


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("https://hub.example/a") == origin("https://HUB.example:443/b")
    assert origin("https://hub.example/a") != origin("https://hub.example:444/a")
    assert origin("https://hub.example/a") != origin("http://hub.example/a")
