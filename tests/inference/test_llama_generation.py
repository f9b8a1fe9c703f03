"""From what llama.cpp's server says to pieces, without the server."""

import pytest

from cocoon_p2p.inference.engine import EngineError, Finish, Piece
from cocoon_p2p.inference.llama_generation import LlamaGeneration
from cocoon_p2p.inference.llama_messages import Choice, Failure, Progress, ServerEvent, Timings, Usage


def text(text: str, tokens: int) -> ServerEvent:
    return ServerEvent(choices=[Choice(text)], timings=Timings(tokens))


def end(reason: str, tokens: int) -> ServerEvent:
    return ServerEvent(choices=[Choice("", reason)], usage=Usage(7, tokens), timings=Timings(tokens))


def run(*events: ServerEvent, stop: tuple[str, ...] = ()) -> list[Piece]:
    pieces = list[Piece]()

    def put(piece: Piece) -> bool:
        pieces.append(piece)
        return True

    generation = LlamaGeneration(stop, put)
    for event in events:
        if generation.on_event(event):
            break
    generation.end()
    return pieces


def test_prefill_is_reported_as_it_goes() -> None:
    pieces = run(
        ServerEvent(choices=[Choice("")], prompt_progress=Progress(3, 3)),
        ServerEvent(choices=[Choice("")], prompt_progress=Progress(7, 3)),
        text("Hi", 1),
        end("stop", 2),
    )

    assert [(piece.prompt_tokens, piece.cached_tokens) for piece in pieces[:3]] == [(3, 3), (7, 3), (7, 3)]


def test_tokens_of_a_character_that_never_came_are_not_counted_at_the_limit() -> None:
    pieces = run(text("Hi", 1), end("length", 3))

    assert pieces[-1] == Piece("", 1, 7, 0, Finish.LENGTH)


def test_an_event_may_stand_for_several_tokens() -> None:
    pieces = run(text("Hi", 1), text("🦋", 4), text("", 5), end("stop", 5))

    assert [(piece.text, piece.completion_tokens) for piece in pieces] == [("Hi", 1), ("🦋", 4), ("", 5)]


def test_a_stop_string_ends_the_answer_before_the_server_does() -> None:
    pieces = run(text("Hi EN", 1), text("D", 2), text("never", 3), stop=("END",))

    assert [(piece.text, piece.finish) for piece in pieces] == [("Hi ", Finish.STOP)]


def test_a_lone_surrogate_becomes_text_that_can_be_sent() -> None:
    pieces = run(text("a\ud83d", 1), end("stop", 1))

    assert pieces[0].text.encode() == b"a?"


def test_what_was_held_back_is_delivered_when_the_model_ends_by_itself() -> None:
    pieces = run(text("Hi EN", 1), end("stop", 1), stop=("END",))

    assert pieces == [Piece("Hi EN", 1, 7, 0, Finish.STOP)]


def test_an_error_of_the_server_is_ours_and_quotes_nothing() -> None:
    with pytest.raises(EngineError, match=r"^llama.cpp failed \(type=server_error\)$"):
        run(text("Hi", 1), ServerEvent(error=Failure("cannot go on after: Hi", "server_error")))


def test_an_answer_without_an_end_is_a_failure() -> None:
    with pytest.raises(EngineError, match="broke an answer off"):
        run(text("Hi", 1))


def test_nobody_reading_stops_the_computation() -> None:
    generation = LlamaGeneration((), lambda _: False)

    assert generation.on_event(text("Hi", 1)) is True
