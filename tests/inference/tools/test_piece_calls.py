"""An engine's pieces with the calls taken out."""

from cocoon_p2p.inference.engine import Finish, Piece
from cocoon_p2p.inference.tools import PieceCalls, new_call_id
from cocoon_p2p.inference.tools.forms import HERMES
from cocoon_p2p.inference.wishes import Likelihood, TokenLogprob, Tool

CALL = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'


def read(*pieces: Piece) -> list[Piece]:
    calls = PieceCalls(HERMES, [Tool("f", "", "{}")])
    return [calls.read(piece) for piece in pieces]


def logprob(number: int) -> TokenLogprob:
    return TokenLogprob(Likelihood(b"x", -float(number)))


def test_an_answer_that_calls_ends_for_its_calls_sake() -> None:
    called, last = read(Piece("So: " + CALL, 9, 5), Piece("", 10, 5, finish=Finish.STOP))

    assert (called.text, called.completion_tokens, [call.name for call in called.calls]) == ("So: ", 9, ["f"])
    assert last == Piece("", 10, 5, finish=Finish.TOOL_CALLS)


def test_one_that_calls_nothing_or_is_cut_off_ends_as_it_ended() -> None:
    (plain,) = read(Piece("Hi", 1, finish=Finish.STOP))
    (cut,) = read(Piece(CALL, 9, finish=Finish.LENGTH))

    assert (plain.finish, cut.finish) == (Finish.STOP, Finish.LENGTH)


def test_what_the_last_piece_finds_held_comes_with_it() -> None:
    held, last = read(Piece("a <tool_", 2), Piece("", 3, finish=Finish.LENGTH))

    assert (held.text, held.completion_tokens) == ("", 0)
    assert (last.text, last.completion_tokens) == ("a <tool_", 3)


def test_likelihoods_wait_for_their_tokens() -> None:
    pieces = [
        Piece("a", 1, logprobs=(logprob(1),)),
        Piece("<tool_call>", 2, logprobs=(logprob(2),)),
        Piece('{"name": "f", ', 4, logprobs=(logprob(3), logprob(4))),
        Piece('"arguments": {}}', 5, logprobs=(logprob(5),)),
        Piece("", 6, finish=Finish.STOP),
    ]

    found = read(*pieces)

    assert [[each.chosen.logprob for each in piece.logprobs] for piece in found] == [
        [-1],
        [],
        [],
        [-2, -3, -4, -5],
        [],
    ]


def test_an_id_is_what_the_strictest_template_takes_and_never_the_same() -> None:
    ids = {new_call_id() for _ in range(100)}

    assert len(ids) == 100
    assert all(len(each) == 9 and each.isascii() and each.isalnum() for each in ids)
