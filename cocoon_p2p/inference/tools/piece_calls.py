"""An engine's pieces with the tool calls taken out of their text.

    calls = PieceCalls(form, tools)         a request's own
    for each piece: put(calls.read(piece))

It comes last, after stop strings and whole characters.
"""

import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from string import ascii_letters, digits
from typing import Final

from cocoon_p2p.inference.engine import Finish, Piece
from cocoon_p2p.inference.tools.call_reader import CallReader
from cocoon_p2p.inference.tools.forms import CallForm
from cocoon_p2p.inference.wishes import TokenLogprob, Tool

ID_SIZE_CHARACTERS: Final = 9
"Mistral's templates take ids of nine letters and digits and no others."


def new_call_id() -> str:
    """Make a call's id: 53 bits that nobody guesses, in characters that every template takes."""
    return "".join(secrets.choice(ascii_letters + digits) for _ in range(ID_SIZE_CHARACTERS))


class PieceCalls:
    """Reads the pieces of one answer. For one thread at a time.

    Args:
        form: How the model writes calls.
        tools: What was offered.
    """

    def __init__(self, form: CallForm, tools: Sequence[Tool]) -> None:
        self._reader = CallReader(form, frozenset(tool.name for tool in tools), new_call_id)
        self._held = deque[tuple[int, tuple[TokenLogprob, ...]]]()
        "The likelihoods that each piece brought, with its count of tokens."

    def read(self, piece: Piece) -> Piece:
        """Give the piece as the reader of the answer sees it.

        What may still become a call is held back, and so are its tokens and their likelihoods; the last
        piece brings whatever is left. An answer that ends by itself after a call ends for its calls' sake.
        """
        self._reader, read = self._reader.feed(piece.text, piece.completion_tokens)
        text, tokens, finish = read.text, read.completion_tokens, piece.finish
        if finish is not None:
            text, tokens = text + self._reader.end().text, piece.completion_tokens
            if finish is Finish.STOP and self._reader.calls:
                finish = Finish.TOOL_CALLS
        return replace(
            piece,
            text=text,
            completion_tokens=tokens,
            finish=finish,
            calls=read.calls,
            logprobs=self._released(piece, tokens),
        )

    def _released(self, piece: Piece, tokens: int) -> tuple[TokenLogprob, ...]:
        """The likelihoods of the pieces whose tokens all count by now."""
        self._held.append((piece.completion_tokens, piece.logprobs))
        released = list[TokenLogprob]()
        while self._held and self._held[0][0] <= tokens:
            released += self._held.popleft()[1]
        return tuple(released)
