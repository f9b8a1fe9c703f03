"""Tool calls that come in pieces, put together: a name first, then its arguments bit by bit. Pure.

A call is given whole once the next one begins or the answer ends. What a server may send of them is
bounded: an answer that never ends its arguments would fill the memory of who waits for them.

Spec: OpenAI API reference, the chat completion chunk object, `delta.tool_calls`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from cocoon_p2p.inference.engine import EngineError
from cocoon_p2p.inference.upstream.steps import CallDelta
from cocoon_p2p.inference.wishes import ToolCall
from cocoon_p2p.protocols.ids import ARGUMENTS_MAX_BYTES, CALL_ID_MAX_BYTES, CALLS_MAX


class CallsAstray(EngineError):
    """The model calls what it cannot: its own slip, or what a client talked it into. The server is well."""


@dataclass
class _Open:
    """A call whose arguments still come."""

    index: int
    id: str
    name: str
    arguments: list[str] = field(default_factory=list[str])
    size_bytes: int = 0

    def whole(self) -> ToolCall:
        return ToolCall(self.id, self.name, "".join(self.arguments) or "{}")


class Calls:
    """The tool calls of one answer.

    Args:
        names: Tools that were offered. A call of another one is the server's mistake.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._open: _Open | None = None
        self._ids = set[str]()
        self.count = 0
        "Calls that have begun."

    def take(self, deltas: Sequence[CallDelta]) -> list[ToolCall]:
        """Take a step's deltas; give the calls that are complete by it.

        Raises:
            CallsAstray: They are too many, too long, or of tools that nobody offered.
            EngineError: They are out of order.
        """
        complete = list[ToolCall]()
        for delta in deltas:
            if self._open is None or delta.index != self._open.index:
                complete += self.end()
                self._begin(delta)
            assert self._open is not None
            text = (delta.function.arguments if delta.function else None) or ""
            self._open.arguments.append(text)
            self._open.size_bytes += len(text.encode("utf-8", "replace"))
            if self._open.size_bytes > ARGUMENTS_MAX_BYTES:
                raise CallsAstray("a tool call of the model's has no end")
        return complete

    def end(self) -> list[ToolCall]:
        """Give the call that was still open: nothing more of it comes."""
        last, self._open = self._open, None
        return [] if last is None else [last.whole()]

    def _begin(self, delta: CallDelta) -> None:
        if delta.index != self.count:
            raise EngineError(f"the server's tool calls are out of order (begun={self.count})")
        if self.count >= CALLS_MAX:
            raise CallsAstray(f"the model calls too many tools (max={CALLS_MAX})")
        name = (delta.function.name if delta.function else None) or ""
        if name not in self._names:
            raise CallsAstray("the model calls a tool that was not offered")
        self._open = _Open(delta.index, self._id(delta), name)
        self.count += 1

    def _id(self, delta: CallDelta) -> str:
        """The server's, if it travels and is no other call's; else one of our own."""
        said = delta.id or ""
        is_fit = said.isascii() and said.isprintable() and 0 < len(said) <= CALL_ID_MAX_BYTES
        if not is_fit or said in self._ids:
            said = next(own for at in count(delta.index) if (own := f"call-{at}") not in self._ids)
        self._ids.add(said)
        return said
