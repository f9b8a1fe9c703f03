"""What `import cocoon_p2p` gives, and what it costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cocoon_p2p

NAMES = """
Answer AnswerBroken AttestationFailed Client CocoonError ConfigurationError Embeddings Identity
LocalProtocolError MalformedMessage Nano NetworkId Offered PeerId Piece Policy PriceQuote
RecordRejected Refused RemoteProtocolError SealBroken ToolCall Trust Unavailable VoucherRejected
format_ton network_id parse_peer_id parse_ton peer_id_text
"""
PUBLIC = NAMES.split()


def test_the_public_names_are_these_and_no_others() -> None:
    assert dir(cocoon_p2p) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(cocoon_p2p, name).__name__ == name


def test_what_type_checkers_see_is_what_is_there_at_run_time() -> None:
    tree = ast.parse(Path(cocoon_p2p.__file__).read_text())
    seen = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cocoon_p2p")
        for alias in node.names
    }

    assert sorted(filter(None, seen)) == PUBLIC
    for name, module in seen.items():
        assert module is not None
        assert name is not None
        assert getattr(sys.modules[module], name) is getattr(cocoon_p2p, name)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nobody"):
        cocoon_p2p.nobody  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import cocoon_p2p", "trio sqlite3 libp2p nacl cbor2 asyncio"),
        ("from cocoon_p2p import Client", "libp2p sqlite3 xllamacpp click rich"),
    ],
)
def test_importing_costs_only_what_is_used(code: str, heavy: str) -> None:
    script = f"import sys; {code}; print(*sorted(set({heavy.split()!r}) & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == ""
