"""`cocoon backup` and `cocoon restore`, as they are typed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cocoon_p2p.cli import cocoon
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.keyfile import load_or_create

# Each takes the second that every guess at a passphrase costs, more than once.
pytestmark = pytest.mark.long


@pytest.fixture
def client(tmp_path: Path) -> Path:
    file = tmp_path / "node" / "client.toml"
    file.parent.mkdir()
    file.write_text('[network]\nname = "test"\n[data]\ndirectory = "data"\n')
    load_or_create(tmp_path / "node" / "data" / "identity.key")
    return file


def secret(path: Path, word: str, mode: int = 0o600) -> str:
    path.touch(mode=mode)
    path.write_text(word)
    return str(path)


def test_a_node_goes_into_a_file_and_back_and_no_secret_is_shown(client: Path, tmp_path: Path) -> None:
    word = secret(tmp_path / "word", "correct horse\nand the rest is not read")
    out, back = str(tmp_path / "out"), str(tmp_path / "back")

    made = CliRunner().invoke(cocoon, ["backup", str(client), out, "--passphrase-file", word, "--json"])
    restored = CliRunner().invoke(cocoon, ["restore", out, back, "--json"], input="correct horse\n")

    assert (made.exit_code, restored.exit_code) == (0, 0)
    assert [each["name"] for each in json.loads(made.stdout)["files"]] == ["client.toml", "data/identity.key"]
    said = json.loads(restored.stdout)
    assert (said["role"], said["config"], said["to_set"]) == ("client", f"{back}/client.toml", {})
    assert "horse" not in made.output + restored.output


def test_a_passphrase_is_typed_twice_and_a_wrong_one_restores_nothing(client: Path, tmp_path: Path) -> None:
    out, back = str(tmp_path / "out"), tmp_path / "back"
    typed = "correct horse\nincorrect horse\ncorrect horse\ncorrect horse\n"

    made = CliRunner().invoke(cocoon, ["backup", str(client), out], input=typed)
    refused = CliRunner().invoke(cocoon, ["restore", out, str(back)], input="incorrect horse\n")

    assert made.exit_code == 0
    assert "do not match" in made.output
    assert isinstance(refused.exception, ConfigurationError)
    assert "the passphrase is wrong" in str(refused.exception)
    assert not back.exists()


@pytest.mark.parametrize("harm", ["others can read it", "empty", "missing", "no text"])
def test_a_passphrase_file_that_will_not_do_is_refused(client: Path, tmp_path: Path, harm: str) -> None:
    word = tmp_path / "word"
    if harm != "missing":
        secret(word, "" if harm == "empty" else "correct horse")
    if harm == "others can read it":
        word.chmod(0o644)
    if harm == "no text":
        word.write_bytes(b"\xff\xfe")

    made = CliRunner().invoke(
        cocoon, ["backup", str(client), str(tmp_path / "out"), "--passphrase-file", str(word)]
    )

    assert isinstance(made.exception, ConfigurationError)
    assert not (tmp_path / "out").exists()
