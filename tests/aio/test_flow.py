"""What waits for a slow reader: bounded by all that it holds, and whole until the end."""

from collections.abc import Callable

import pytest
import trio

from cocoon_p2p.aio.flow import PIECES_MAX, SIZE_MAX_BYTES, Flow
from cocoon_p2p.aio.portal import Portal
from cocoon_p2p.client import Piece
from cocoon_p2p.client.reception import LOGPROB_SIZE_BYTES
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.protocols.wishes import Likelihood, TokenLogprob, ToolCall
from cocoon_p2p.sync import open_portal
from tests.aio.scene import Desk, open_desk

LIKELY = TokenLogprob(Likelihood(b"a", -1_000_000), ())


def flow(post: Callable[[Callable[[], None]], None]) -> Flow:
    return Flow(lambda wake: wake(), post, lambda: None)


@pytest.mark.parametrize(
    "piece",
    [
        Piece("a" * SIZE_MAX_BYTES, 1),
        Piece("", 1, vectors=(bytes(SIZE_MAX_BYTES),)),
        Piece("", 1, calls=(ToolCall("1", "look", "a" * SIZE_MAX_BYTES),)),
        Piece("", 1, logprobs=(LIKELY,) * (SIZE_MAX_BYTES // LOGPROB_SIZE_BYTES + 1)),
    ],
    ids=["text", "vectors", "calls", "likelihoods"],
)
async def test_room_is_what_a_piece_takes_whatever_it_carries(piece: Piece) -> None:
    answer = flow(lambda function: function())
    answer.put(piece)
    with trio.move_on_after(0) as scope:
        await answer.room()
    assert scope.cancelled_caught

    assert answer.pop() == piece
    with trio.fail_after(30):
        await answer.room()


def test_what_came_before_the_client_was_closed_can_be_read_to_its_end() -> None:
    def fill(portal: Portal[Desk]) -> Flow:
        answer = flow(portal.post_if_open)
        for number in range(PIECES_MAX):
            answer.put(Piece("a", number))
        return answer

    with open_portal(open_desk) as portal:
        answer = fill(portal)

        async def wait(_desk: Desk) -> None:
            try:
                await answer.room()
            finally:
                answer.end(Unavailable("closed"))

        portal.submit(wait, lambda _result: None)
    pieces = 0
    while answer.pop() is not None:
        pieces += 1
    assert pieces == PIECES_MAX
    with pytest.raises(Unavailable):
        assert answer.is_over
