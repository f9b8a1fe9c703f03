"""What a control socket bears: strangers to the protocol, the silent, the slow, the many."""

import json
import os
import socket
import stat
import struct
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cocoon_p2p.control import serving
from cocoon_p2p.control.place import PATH_MAX_BYTES, is_trusted
from cocoon_p2p.control.serving import CONNECTIONS_MAX, SILENT_SECONDS
from cocoon_p2p.control.verbs import Say
from cocoon_p2p.control.wire import REQUEST_MAX_BYTES
from cocoon_p2p.errors import ConfigurationError, LocalProtocolError, Unavailable
from tests.control.verbs import (
    ANSWERS,
    COUNT,
    DOUBLE,
    FAIL,
    Count,
    Double,
    Doubled,
    Fail,
    asked,
    double,
    read_lines,
)
from tests.control.verbs import (
    serving as served,
)

ASK = b'{"do":"double","number":1}\n'
REPLY = [b'{"reply":{"number":2}}', b'{"end":true}']


# ---------------------------------------------------------------- the file


async def test_only_the_owner_can_open_the_socket_and_it_is_gone_in_the_end(tmp_path: Path) -> None:
    async with served(tmp_path / "socket"):
        assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)
        assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o600

    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "socket"))

    async with served(tmp_path / "socket"):
        assert await asked(tmp_path / "socket", DOUBLE, Double(1)) == Doubled(2)


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "socket").write_text("my diary")

    with pytest.raises(ConfigurationError, match="in use") as caught:
        await serving.serve_control(tmp_path / "socket", ANSWERS)

    assert caught.value.hint
    assert (tmp_path / "socket").read_text() == "my diary"


async def test_a_link_in_the_socket_s_place_is_not_followed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other"))
        (tmp_path / "socket").symlink_to(tmp_path / "other")

        with pytest.raises(ConfigurationError):
            await serving.serve_control(tmp_path / "socket", ANSWERS)

    assert (tmp_path / "other").is_socket()


async def test_a_path_too_long_for_a_socket_says_what_to_do(tmp_path: Path) -> None:
    longest = tmp_path / ("x" * (PATH_MAX_BYTES - len(os.fsencode(tmp_path)) - 1))

    async with served(longest):
        assert await asked(longest, DOUBLE, Double(1)) == Doubled(2)
    with pytest.raises(ConfigurationError, match=f"has {PATH_MAX_BYTES + 1} bytes") as caught:
        await serving.serve_control(Path(f"{longest}x"), ANSWERS)

    assert "shorter path" in caught.value.hint


async def test_in_a_folder_that_is_missing_the_caller_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        await serving.serve_control(tmp_path / "nowhere" / "socket", ANSWERS)


@pytest.mark.parametrize(
    ("uid", "own_uid", "trusted"), [(1000, 1000, True), (0, 1000, True), (1001, 1000, False), (1000, 0, True)]
)
def test_only_the_same_user_and_root_are_trusted(uid: int, own_uid: int, trusted: bool) -> None:
    assert is_trusted(struct.pack("3i", 7, uid, 7), own_uid=own_uid) is trusted


async def test_another_user_s_process_is_not_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_credentials: bytes, *, own_uid: int) -> bool:
        return own_uid < 0

    monkeypatch.setattr(serving, "is_trusted", nobody)

    async with served(tmp_path / "socket"):
        stream = await trio.open_unix_socket(tmp_path / "socket")
        async with stream:
            assert await read_lines(stream, 1) == []
        with pytest.raises(Unavailable):
            await asked(tmp_path / "socket", DOUBLE, Double(1))


# ---------------------------------------------------------------- what is said


async def test_requests_may_follow_one_another_on_one_connection_in_any_pieces(tmp_path: Path) -> None:
    async with served(tmp_path / "socket"), await trio.open_unix_socket(tmp_path / "socket") as stream:
        for piece in (ASK[:5], ASK[5:] + ASK, ASK[:-1], b"\n"):
            await stream.send_all(piece)

        assert await read_lines(stream, 6) == REPLY * 3


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"noise",
        b"[]",
        b"{}",
        b'{"do":"steal"}',
        b'{"do":7}',
        b'{"do":"double"}',
        b'{"do":"double","number":"1"}',
        b'{"do":"double","number":1,"more":1}',
        b'{"do":"double","number":1e999}',
        b'{"do":"double","\xff":1}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
    ],
)
async def test_what_is_no_request_is_told_so_and_the_next_is_answered(tmp_path: Path, line: bytes) -> None:
    async with served(tmp_path / "socket"), await trio.open_unix_socket(tmp_path / "socket") as stream:
        await stream.send_all(line + b"\n" + ASK)

        error, *rest = await read_lines(stream, 3)

    assert json.loads(error)["error"]["kind"] == "MalformedMessage"
    assert rest == REPLY


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=300))
def test_whatever_is_said_the_next_one_is_answered(tmp_path: Path, noise: bytes) -> None:
    async def run() -> None:
        async with served(tmp_path / "socket"):
            async with await trio.open_unix_socket(tmp_path / "socket") as stream:
                await stream.send_all(noise)
                await stream.send_eof()
                for line in await read_lines(stream, 10**6):
                    assert json.loads(line)
            assert await asked(tmp_path / "socket", DOUBLE, Double(1)) == Doubled(2)

    trio.run(run)


async def test_a_line_without_an_end_is_told_so_and_hung_up_on(tmp_path: Path) -> None:
    async with served(tmp_path / "socket"), await trio.open_unix_socket(tmp_path / "socket") as stream:
        await stream.send_all(b"x" * (REQUEST_MAX_BYTES + 1))

        (error,) = await read_lines(stream, 2)

    assert "too long" in json.loads(error)["error"]["message"]


async def test_a_reply_longer_than_a_line_may_be_is_a_fault_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "REPLY_MAX_BYTES", 10)

    async with served(tmp_path / "socket"):
        with pytest.raises(LocalProtocolError, match="reply is too long"):
            await asked(tmp_path / "socket", DOUBLE, Double(1))


# ---------------------------------------------------------------- the silent, the slow, the many


async def test_who_says_nothing_is_hung_up_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with served(tmp_path / "socket"), await trio.open_unix_socket(tmp_path / "socket") as stream:
        began = trio.current_time()

        assert await stream.receive_some() == b""

        assert trio.current_time() - began == pytest.approx(SILENT_SECONDS)


async def test_who_spells_a_request_byte_by_byte_has_no_longer(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with served(tmp_path / "socket"), await trio.open_unix_socket(tmp_path / "socket") as stream:
        began = trio.current_time()

        with pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"x")
                await trio.sleep(SILENT_SECONDS / 10)

        assert trio.current_time() - began < 1.5 * SILENT_SECONDS


async def test_more_than_there_are_places_for_are_turned_away_at_once(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with served(path):
        silent = [await trio.open_unix_socket(path) for _ in range(CONNECTIONS_MAX)]
        await trio.testing.wait_all_tasks_blocked()

        with pytest.raises(Unavailable, match="too many ask at once") as caught:
            await asked(path, DOUBLE, Double(1))
        for stream in silent:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()

        assert caught.value.retry_after == 1.0
        assert await asked(path, DOUBLE, Double(1)) == Doubled(2)


async def test_who_follows_and_does_not_read_ends_the_feed_and_nothing_else(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    ended = trio.Event()

    async def count(request: Count, say: Say[Doubled]) -> None:
        try:
            for number in range(request.until):
                await say(Doubled(number))
        finally:
            ended.set()

    path = tmp_path / "socket"
    async with served(path, (DOUBLE.by(double), COUNT.by(count))):
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(b'{"do":"count","until":1000000000}\n')
            await ended.wait()
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(ASK)
            assert await read_lines(stream, 2) == REPLY


async def test_a_feed_with_nothing_to_tell_notices_who_hangs_up(tmp_path: Path) -> None:
    ended = trio.Event()

    async def wait(_request: Count, _say: Say[Doubled]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with served(tmp_path / "socket", (COUNT.by(wait),)):
        async with await trio.open_unix_socket(tmp_path / "socket") as stream:
            await stream.send_all(b'{"do":"count","until":1}\n')
            await trio.testing.wait_all_tasks_blocked()
            assert not ended.is_set()
        await ended.wait()


async def test_a_verb_goes_on_when_the_one_who_asked_has_left(tmp_path: Path) -> None:
    go_on, done = trio.Event(), trio.Event()

    async def act(_request: Fail) -> Doubled:
        await go_on.wait()
        done.set()
        return Doubled(1)

    async with served(tmp_path / "socket", (FAIL.by(act),)):
        async with await trio.open_unix_socket(tmp_path / "socket") as stream:
            await stream.send_all(b'{"do":"fail"}\n')
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
        await done.wait()


async def test_a_verb_that_takes_too_long_is_cancelled_and_the_one_who_asked_is_told(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async def hang(_request: Fail) -> Doubled:
        await trio.sleep_forever()
        raise AssertionError

    answers = (FAIL.by(hang),)
    async with (
        served(tmp_path / "socket", answers),
        await trio.open_unix_socket(tmp_path / "socket") as stream,
    ):
        await stream.send_all(b'{"do":"fail"}\n')
        (error,) = await read_lines(stream, 1)

    assert json.loads(error)["error"]["message"] == "the answer took too long (limit=10 s)"
    assert json.loads(error)["error"]["kind"] == "Unavailable"


async def test_an_answer_cut_in_half_by_its_limit_is_not_followed_by_another_line(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    class Long(Doubled, frozen=True):
        text: str = "x" * 4_000_000

    async def long(_request: Fail) -> Doubled:
        return Long(1)

    answers = (FAIL.by(long),)
    async with (
        served(tmp_path / "socket", answers),
        await trio.open_unix_socket(tmp_path / "socket") as stream,
    ):
        await stream.send_all(b'{"do":"fail"}\n')
        # The limit passes while the reply waits to be read.
        await trio.sleep(FAIL.limit_seconds + 1)
        lines = await read_lines(stream, 2)

    assert len(lines) == 1
    assert lines[0].startswith(b'{"reply":{"number":1,"text":"xxx')
    assert lines[0].endswith(b"x")
