"""The token: made once, for its owner alone, compared whole, and guessed at so often and no more."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import ConfigurationError, Refused
from cocoon_p2p.page.gate import TOKEN_FILE, TRIES_MAX, TRIES_SECONDS, Gate, keep_token
from tests.page.scene import TOKEN


def test_a_token_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    first, second = keep_token(tmp_path), keep_token(tmp_path)

    assert first == second
    assert len(first) >= 43
    assert stat.S_IMODE((tmp_path / TOKEN_FILE).stat().st_mode) == 0o600


def test_no_moment_at_which_a_process_may_be_killed_leaves_half_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[str] = []
    flush = os.fsync

    def look(descriptor: int) -> None:
        left.append((tmp_path / TOKEN_FILE).read_text() if (tmp_path / TOKEN_FILE).exists() else "")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    token = keep_token(tmp_path)

    assert left == ["", f"{token}\n"]


def test_two_nodes_have_two_tokens(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()

    assert keep_token(tmp_path / "one") != keep_token(tmp_path / "two")


def test_a_token_that_others_can_read_is_none(tmp_path: Path) -> None:
    keep_token(tmp_path)
    (tmp_path / TOKEN_FILE).chmod(0o644)

    with pytest.raises(ConfigurationError, match="can be read by others"):
        keep_token(tmp_path)


@pytest.mark.parametrize("text", ["", "short", "\xe9" * 64])
def test_what_is_easily_guessed_is_no_token(tmp_path: Path, text: str) -> None:
    (tmp_path / TOKEN_FILE).write_text(text)
    (tmp_path / TOKEN_FILE).chmod(0o600)

    with pytest.raises(ConfigurationError, match="holds no token") as refused:
        keep_token(tmp_path)
    assert "remove it" in refused.value.hint
    assert text == "" or text not in str(refused.value)


@pytest.mark.parametrize(
    "said", ["", TOKEN[:-1], TOKEN + "x", TOKEN + "\n", " " + TOKEN, TOKEN.upper(), "\0", "\xff", TOKEN * 100]
)
def test_nothing_but_the_token_passes(said: str) -> None:
    gate = Gate(TOKEN, lambda: 0.0)

    gate.judge(TOKEN)
    with pytest.raises(Refused, match="not the token"):
        gate.judge(said)


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60))
def test_in_no_minute_are_more_wrong_tokens_weighed_than_allowed(tries: list[tuple[float, bool]]) -> None:
    now, weighed, waits = [0.0], list[float](), list[float]()
    gate = Gate(TOKEN, lambda: now[0])
    for pause, is_right in tries:
        now[0] += pause
        try:
            gate.judge(TOKEN if is_right else "wrong")
        except Refused as refused:
            (weighed if refused.code == "wrong-token" else waits).append(refused.retry_after or now[0])

    for at in weighed:
        assert sum(at <= each < at + TRIES_SECONDS for each in weighed) <= TRIES_MAX
    assert all(0 < seconds <= TRIES_SECONDS for seconds in waits)
