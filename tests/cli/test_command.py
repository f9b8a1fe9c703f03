"""The command's frame: quick help, one clear message, the documented exit code."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p import errors
from cocoon_p2p.cli import cocoon, exit_code, leaves, main
from cocoon_p2p.cli.spell import harmless, is_control


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_help_names_every_command_and_loads_neither_libp2p_nor_trio() -> None:
    code = (
        "import sys\n"
        "from cocoon_p2p.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'libp2p', 'trio', 'sqlite3', 'rich', 'msgspec', 'xllamacpp'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    for command in ("demo", "ask", "chat", "models", "bootstrap", "proxy", "worker", "bench"):
        assert f"\n  {command} " in done.stdout


def test_a_wrong_file_is_shown_with_its_line_and_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "worker.toml"
    file.write_text('[worker]\nmodle = "demo"\n[network]\nname = "local"\n')

    code, out, err = run(capsys, "worker", str(file))

    assert code == 2
    assert out == ""
    assert f"{file}:2:1: unknown key `modle` in [worker], did you mean `model`?" in err
    assert "correct worker.toml and try again" in err


def test_a_command_that_does_not_exist_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "mine")

    assert code == 2
    assert "No such command 'mine'" in err


def test_a_bootstrap_without_an_address_says_what_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bootstrap.toml"
    file.write_text('[network]\nname = "local"\n')

    code, _, err = run(capsys, "bootstrap", str(file))

    assert code == 2
    assert "[network] listen is empty" in err
    assert 'listen = ["/ip4/0.0.0.0/tcp/4001"]' in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("x"), 2),
        (errors.Unavailable("x"), 3),
        (errors.Refused("x", code="no-capacity"), 4),
        (errors.AttestationFailed("x"), 5),
        (errors.MalformedMessage("x"), 6),
        (errors.LocalProtocolError("x"), 1),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(error: errors.CocoonError, code: int) -> None:
    assert exit_code(error) == code


def test_errors_are_found_however_deep_their_groups_are() -> None:
    one, two = ValueError("one"), errors.Unavailable("two")

    assert leaves(ExceptionGroup("a", [ExceptionGroup("b", [one]), two])) == [one, two]
    assert leaves(one) == [one]


def test_a_failure_that_quotes_a_peer_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise errors.Refused("refused: \x1b[2J", code="draining", hint="offered are: \x9b31m")

    monkeypatch.setattr(cocoon, "main", fail)

    code, _, err = run(capsys, "models")

    assert code == 4
    assert "refused: " in err
    assert "offered are: " in err
    assert not any(is_control(letter) for letter in err)


def test_a_trust_level_that_is_none_is_refused_before_anybody_is_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _, err = run(capsys, "ask", "--trust", "blind", "hello")

    assert code == 2
    assert "'tdx+gpu'" in err


@given(st.text())
def test_what_a_peer_wrote_cannot_steer_the_terminal(text: str) -> None:
    shown = harmless(text)

    assert len(shown) == len(text)
    assert not any(is_control(letter) for letter in shown)
    assert harmless("a\x1b[2Jb\x9b\x00") == "a\N{REPLACEMENT CHARACTER}[2Jb" + "\N{REPLACEMENT CHARACTER}" * 2
    assert harmless("line\n\ttab") == "line\n\ttab"
