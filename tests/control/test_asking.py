"""A command asks, and what it is answered is what the process said."""

import os
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest
import trio

from cocoon_p2p import errors
from cocoon_p2p.control import ask, asking, follow, wire
from cocoon_p2p.control.place import PATH_MAX_BYTES
from cocoon_p2p.errors import ConfigurationError, LocalProtocolError, Unavailable
from cocoon_p2p.strict_toml import ConfigurationMistakes, Mistake
from cocoon_p2p.units import Nano
from tests.control.verbs import COUNT, DOUBLE, Count, Double, Doubled, asked, failed, serving

RAISED = (
    errors.CocoonError("plain", hint="do this"),
    errors.LocalProtocolError("a bug"),
    errors.ConfigurationError("wrong (file=x)", hint="write y"),
    errors.RemoteProtocolError("not allowed"),
    errors.MalformedMessage("no message"),
    errors.VoucherRejected("out of range", claimed=400, paid=700),
    errors.SealBroken("broken"),
    errors.RecordRejected("too old"),
    errors.Miscounted("seven are not eight", is_by_worker=True),
    errors.PolicyRejected("not signed"),
    errors.AttestationFailed("no quote"),
    errors.Unavailable("away", retry_after=2.5, charged=Nano(7)),
    errors.Refused("no", code="no-capacity", hint="wait", candidates=("one: busy", "two: dear")),
    errors.AnswerBroken("half", code="worker-lost", text="Once upon"),
)


async def test_a_reply_is_what_the_verb_gave(tmp_path: Path) -> None:
    async with serving(tmp_path / "socket"):
        assert await asked(tmp_path / "socket", DOUBLE, Double(21)) == Doubled(42)


async def test_a_feed_gives_every_reply_in_order_and_ends(tmp_path: Path) -> None:
    async with serving(tmp_path / "socket"):
        replies = await trio.to_thread.run_sync(list, follow(tmp_path / "socket", COUNT, Count(1000)))

    assert replies == [Doubled(number) for number in range(1000)]


def test_every_class_of_error_is_tried() -> None:
    there = {kind for kind in vars(errors).values() if isinstance(kind, type)}

    assert {kind for kind in there if issubclass(kind, errors.CocoonError)} == {
        type(error) for error in RAISED
    }


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_an_error_arrives_as_it_was_raised(tmp_path: Path, error: errors.CocoonError) -> None:
    seen = await failed(tmp_path / "socket", error)

    assert type(seen) is type(error)
    assert str(seen) == str(error)
    assert seen.code == error.code
    assert vars(seen) | {"code": seen.code} == vars(error) | {"code": error.code}


async def test_an_error_of_another_room_arrives_as_its_nearest_known_ancestor(tmp_path: Path) -> None:
    mistakes = ConfigurationMistakes(Path("x.toml"), "", [Mistake(1, 1, "unknown key")])

    seen = await failed(tmp_path / "socket", mistakes)

    assert type(seen) is ConfigurationError
    assert seen.hint == mistakes.hint


async def test_an_error_out_of_a_task_group_arrives_without_it(tmp_path: Path) -> None:
    group = ExceptionGroup("tasks", [ExceptionGroup("inner", [Unavailable("the disk is full")])])

    seen = await failed(tmp_path / "socket", group)

    assert type(seen) is Unavailable
    assert str(seen) == "the disk is full"


async def test_an_error_that_quotes_a_file_s_odd_name_can_be_told(tmp_path: Path) -> None:
    seen = await failed(tmp_path / "socket", ConfigurationError("cannot read a\udcffb", hint="\udcfe"))

    assert str(seen) == "cannot read a?b"


async def test_a_bug_in_a_verb_is_told_without_its_words_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = await failed(tmp_path / "socket", KeyError("secret"))

    assert type(seen) is LocalProtocolError
    assert "secret" not in str(seen)
    assert "a control verb failed" in caplog.text


def test_where_no_process_listens_the_caller_is_told_what_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nobody answers there") as caught:
        ask(tmp_path / "socket", DOUBLE, Double(1))

    assert caught.value.hint


def test_a_socket_that_nobody_serves_any_more_is_no_daemon(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "socket"))

    with pytest.raises(Unavailable, match="nobody answers there"):
        ask(tmp_path / "socket", DOUBLE, Double(1))


def test_at_a_path_too_long_for_a_socket_there_is_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        ask(tmp_path / ("x" * PATH_MAX_BYTES), DOUBLE, Double(1))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b'{"reply":{"number":1}}',
        b"noise\n",
        b"[]\n",
        b'{"reply":{"number":"one"}}\n',
        b'{"reply":7}\n',
        b'{"end":true}\n',
        b'{"error":{}}\n',
        b"\xff\n",
    ],
)
def test_an_answer_that_breaks_off_or_cannot_be_read_is_no_answer(tmp_path: Path, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()

        def answer() -> None:
            with listener.accept()[0] as stream:
                stream.recv(1000)
                stream.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with pytest.raises(Unavailable):
                ask(tmp_path / "socket", DOUBLE, Double(1))
        finally:
            thread.join()


async def test_another_user_s_process_is_told_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_credentials: bytes, *, own_uid: int) -> bool:
        return own_uid < 0

    monkeypatch.setattr(asking, "is_trusted", nobody)

    async with serving(tmp_path / "socket"):
        with pytest.raises(Unavailable, match="another user's process"):
            await asked(tmp_path / "socket", DOUBLE, Double(1))


async def test_an_answer_longer_than_a_line_may_be_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in (asking, wire):
        monkeypatch.setattr(room, "REPLY_MAX_BYTES", 10)

    async with serving(tmp_path / "socket"):
        with pytest.raises(Unavailable, match="too long"):
            await asked(tmp_path / "socket", DOUBLE, Double(1))


async def test_an_error_of_a_kind_that_is_not_known_here_is_still_an_error(tmp_path: Path) -> None:
    class Newer(errors.CocoonError):
        code = "newer"

    seen = await failed(tmp_path / "socket", Newer("of a later version"))

    assert (type(seen), seen.code, str(seen)) == (errors.CocoonError, "newer", "of a later version")


async def test_a_follower_that_stops_listening_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    def first() -> Doubled:
        with closing(follow(tmp_path / "socket", COUNT, Count(10**9))) as replies:
            return next(replies)

    async with serving(tmp_path / "socket"):
        assert await trio.to_thread.run_sync(first) == Doubled(0)
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for _ in range(20):
            await trio.to_thread.run_sync(first)
        await trio.testing.wait_all_tasks_blocked(0.01)
        after = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    assert after <= before + 2
