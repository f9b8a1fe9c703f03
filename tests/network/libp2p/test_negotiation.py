"""Negotiation in one round trip, against peers that agree, refuse, lie, stall and babble."""

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from libp2p.custom_types import TProtocol
from libp2p.io.abc import ReadWriteCloser
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.utils import encode_delim
from trio.testing import MockClock

from cocoon_p2p.network.libp2p import patches
from cocoon_p2p.network.libp2p.negotiation import MESSAGE_MAX_BYTES, read_message, select_one_of

FIRST, SECOND, THIRD = TProtocol("/test/1"), TProtocol("/test/2"), TProtocol("/test/3")
HEADER = "/multistream/1.0.0"


@pytest.fixture(autouse=True)
def mended() -> None:
    patches.install()


class Peer(ReadWriteCloser):
    """A cable on which the peer's answers lie ready; in pieces of one byte, and silent in the end."""

    def __init__(self, answers: bytes, *, is_closed: bool = True) -> None:
        self.written = b""
        self._answers = answers
        self._is_closed = is_closed

    async def read(self, n: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._answers and not self._is_closed:
            await trio.sleep_forever()
        data, self._answers = self._answers[:1], self._answers[1:]
        return data

    async def write(self, data: bytes) -> None:
        self.written += data

    async def close(self) -> None: ...
    def get_remote_address(self) -> None: ...


def said(*messages: str) -> bytes:
    return b"".join(encode_delim(message.encode()) for message in messages)


async def select(peer: Peer, *protocols: TProtocol) -> TProtocol:
    return await select_one_of(MultiselectClient(), protocols, MultiselectCommunicator(peer))


async def test_the_first_protocol_is_agreed_on() -> None:
    peer = Peer(said(HEADER, FIRST))

    assert await select(peer, FIRST, SECOND) == FIRST
    assert peer.written == said(HEADER, FIRST)


async def test_the_next_protocol_is_asked_for_when_the_first_is_refused() -> None:
    peer = Peer(said(HEADER, "na", "na", THIRD))

    assert await select(peer, FIRST, SECOND, THIRD) == THIRD
    assert peer.written == said(HEADER, FIRST, SECOND, THIRD)


@pytest.mark.parametrize(
    ("answers", "match"),
    [
        (said(HEADER, "na", "na"), "speaks none of these"),
        (said(HEADER, THIRD), "answers another question"),
        (said("/another/1.0.0", FIRST), "speaks no multistream-select"),
        (said(HEADER)[:7], "broke off"),
        (b"", "broke off"),
        (b"\xff\xff\x01", "broke off"),
    ],
    ids=["refuses all", "agrees to another", "another header", "breaks off", "closes", "too long"],
)
async def test_a_peer_that_does_not_agree_is_an_error(answers: bytes, match: str) -> None:
    with pytest.raises(MultiselectClientError, match=match):
        await select(Peer(answers), FIRST, SECOND)


async def test_a_peer_that_is_silent_is_given_up(autojump_clock: MockClock) -> None:
    communicator = MultiselectCommunicator(Peer(said(HEADER), is_closed=False))
    began = trio.current_time()

    with pytest.raises(MultiselectClientError, match="no answer"):
        await select_one_of(MultiselectClient(), [FIRST], communicator, 7)

    assert trio.current_time() - began == 7


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 5000, MESSAGE_MAX_BYTES - 1])
async def test_a_message_is_read_up_to_the_limit(length: int) -> None:
    text = "x" * length

    assert await read_message(MultiselectCommunicator(Peer(said(text)))) == text


@pytest.mark.parametrize(
    ("wire", "match"),
    [
        (b"\x80\x80\x01", "too long"),
        (b"\x03abc", "does not end its line"),
        (b"\x00", "does not end its line"),
        (b"\x03\xff\xff\n", "utf-8"),
        (b"\x05ab", "closed in the middle"),
        (b"\x85", "closed in the middle"),
    ],
)
async def test_a_message_that_is_none_is_an_error(wire: bytes, match: str) -> None:
    with pytest.raises(MultiselectCommunicatorError, match=match):
        await read_message(MultiselectCommunicator(Peer(wire)))


def read_all(wire: bytes) -> Sequence[str]:
    async def read() -> list[str]:
        communicator, messages = MultiselectCommunicator(Peer(wire)), []
        while True:
            try:
                messages.append(await read_message(communicator))
            except MultiselectCommunicatorError:
                return messages

    return trio.run(read)


@settings(max_examples=40, deadline=None)
@given(wire=st.binary(max_size=60))
def test_strange_bytes_are_messages_or_one_error(wire: bytes) -> None:
    read_all(wire)


@settings(max_examples=40, deadline=None)
@given(messages=st.lists(st.text(max_size=40), max_size=4))
def test_messages_survive_their_bytes(messages: list[str]) -> None:
    assert read_all(said(*messages)) == messages
