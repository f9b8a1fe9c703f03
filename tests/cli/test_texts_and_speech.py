"""`cocoon translate`, `summarize`, `transcribe`: what is wrong is said before anything is dialled."""

import io
from pathlib import Path

import pytest

from cocoon_p2p.protocols.ids import AUDIO_MAX_BYTES, REQUEST_TEXT_MAX_BYTES
from tests.cli.test_command import run

Caught = pytest.CaptureFixture[str]


def test_a_language_that_is_none_ends_with_2_and_says_what_one_is(capsys: Caught) -> None:
    code, _, err = run(capsys, "translate", "Hello", "--to", "klingonese, please")

    assert code == 2
    assert "not a language" in err
    assert "such as es" in err


def test_a_translation_needs_a_language(capsys: Caught) -> None:
    code, _, err = run(capsys, "translate", "Hello")

    assert code == 2
    assert "--to" in err


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "there is no text"),
        (b"\xff\xfe", "not a text in UTF-8"),
        (b"x" * (REQUEST_TEXT_MAX_BYTES + 1), "long"),
    ],
    ids=["nothing", "bytes", "too much"],
)
def test_a_file_that_is_no_text_is_not_summed_up(
    capsys: Caught, tmp_path: Path, content: bytes, why: str
) -> None:
    (tmp_path / "text").write_bytes(content)

    code, _, err = run(capsys, "summarize", str(tmp_path / "text"))

    assert code == 2
    assert why in err


@pytest.mark.parametrize(
    "command", [("ask", "-"), ("embed", "-"), ("summarize", "-"), ("translate", "-", "--to", "es")]
)
def test_what_is_piped_in_and_is_no_text_is_called_so(
    capsys: Caught, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))

    code, _, err = run(capsys, *command)

    assert code == 2
    assert "not a text in UTF-8" in err


@pytest.mark.parametrize("command", ["summarize", "transcribe"])
def test_a_file_that_is_not_there_is_named(capsys: Caught, tmp_path: Path, command: str) -> None:
    code, _, err = run(capsys, command, str(tmp_path / "missing"))

    assert code == 2
    assert f"cannot read {tmp_path / 'missing'}" in err


def test_a_recording_that_is_too_large_says_how_to_make_it_smaller(capsys: Caught, tmp_path: Path) -> None:
    with (tmp_path / "long.wav").open("wb") as file:
        file.truncate(AUDIO_MAX_BYTES + 1)

    code, _, err = run(capsys, "transcribe", str(tmp_path / "long.wav"))

    assert code == 2
    assert "ffmpeg" in err
