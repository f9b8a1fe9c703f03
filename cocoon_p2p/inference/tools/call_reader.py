"""Tool calls taken out of an answer while it comes. Pure.

    text --> no beginning of `begin` in it --> delivered
    begin --> JSON, to its last bracket --> calls, or, if it is none of ours, text after all

Rule 1: however the text is cut into steps, calls and delivered text are the same.
Rule 2: nothing is lost. What begins like a call and is none comes out as it was written.
Rule 3: a step of text leaves whole or not at all, but before a call: a continuation that starts
        where a piece ended then splits into the tokens that the first answer had.
Rule 4: a token counts with the first of its text that is delivered, or with its call.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final

from cocoon_p2p.inference.tools.calls_json import JsonScan, calls_in, is_object
from cocoon_p2p.inference.tools.forms import CallForm
from cocoon_p2p.inference.wishes import ToolCall
from cocoon_p2p.protocols.ids import ARGUMENTS_MAX_BYTES, CALLS_MAX

CALL_SIZE_MAX_CHARACTERS: Final = 2 * ARGUMENTS_MAX_BYTES
"Of what follows one `begin`. What grows longer is text."

NO_CALLS_MAX: Final = 64
"""After so many beginnings with JSON that was no call, all is text: what follows each one is read anew, and
an answer may be made of nothing else, one within the other."""

_SPACE: Final = " \t\r\n"
_UNSEEN: Final = JsonScan(0)

_CALL_ID: Final = "[CALL_ID]"
_CALL_ID_MAX_CHARACTERS: Final = 32
"Some Mistral models write an id between name and arguments. It is theirs: ours are made here."


@dataclass(frozen=True, slots=True)
class Read:
    """What one step brought."""

    text: str = ""
    completion_tokens: int = 0
    "Cumulative, as in `Piece`."

    calls: tuple[ToolCall, ...] = ()


class _Phase(Enum):
    START = auto()
    "Nothing but space so far."

    TEXT = auto()
    CALL = auto()
    "What is held begins with a call's beginning."

    ENDED = auto()
    "Right after a call: its end may follow, or the next one."


@dataclass(frozen=True, slots=True)
class CallReader:
    """What is held back of an answer because it may be a call.

    `CallReader(form, names, new_id)` is the state before the first step.
    """

    form: CallForm
    names: frozenset[str]
    "Of the tools that were offered. What calls another one is text."

    new_id: Callable[[], str] = field(repr=False)
    tokens: int = 0
    "Delivered, cumulative."

    calls: int = 0
    no_calls: int = 0
    held: str = ""
    ends: tuple[tuple[int, int], ...] = ()
    "Of each step of which something is held: where it ends in `held`, and its cumulative tokens."

    phase: _Phase = _Phase.START
    payload: int | None = None
    "Where the JSON of a call begins in `held`, once that is known."

    name: str = ""
    "Of the tool, where the form gives it before the JSON."

    scan: JsonScan = _UNSEEN

    def feed(self, text: str, tokens: int) -> tuple["CallReader", Read]:
        """Take one more step.

        Args:
            text: Its text, whole characters.
            tokens: Completion tokens so far, with this step's.
        """
        held = self.held + text
        ends = (*self.ends, (len(held), tokens))
        at, out, calls = replace(self, held=held, ends=ends), "", tuple[ToolCall, ...]()
        while True:
            after, some, found = at._advance()
            out, calls = out + some, (*calls, *found)
            if after == at:
                return at, Read(out, at.tokens, calls)
            at = after

    def end(self) -> Read:
        """Tell what is still to be delivered once the answer has ended."""
        is_space = self.phase is _Phase.ENDED and not self.held.strip(_SPACE)
        after = self._past(len(self.held))
        return Read("" if is_space else self.held, after.tokens)

    def _advance(self) -> tuple["CallReader", str, tuple[ToolCall, ...]]:
        """Do one thing, if what is held tells which."""
        match self.phase:
            case _Phase.START:
                return (*self._start(), ())
            case _Phase.TEXT:
                return (*self._text(), ())
            case _Phase.CALL:
                return self._call()
            case _Phase.ENDED:
                return (*self._ended(), ())

    def _start(self) -> tuple["CallReader", str]:
        rest = self.held.lstrip(_SPACE)
        if not self.form.may_begin_bare:
            return replace(self, phase=_Phase.TEXT), ""
        if rest.startswith("{"):
            space = len(self.held) - len(rest)
            return replace(self, phase=_Phase.CALL, payload=space, scan=JsonScan(space)), ""
        return (replace(self, phase=_Phase.TEXT), "") if rest else (self, "")

    def _text(self) -> tuple["CallReader", str]:
        if self.no_calls >= NO_CALLS_MAX:
            return self._past(len(self.held)), self.held
        begins = self.held.find(self.form.begin)
        if begins >= 0:
            return replace(self._past(begins), phase=_Phase.CALL), self.held[:begins]
        free = len(self.held) - _overlap(self.held, self.form.begin)
        cut = max((end for end, _ in self.ends if end <= free), default=0)
        return self._past(cut), self.held[:cut]

    def _call(self) -> tuple["CallReader", str, tuple[ToolCall, ...]]:
        if self.payload is None:
            return self._head()
        if len(self.held) > CALL_SIZE_MAX_CHARACTERS:
            return self._no_call()
        scan = self.scan.go_on(self.held)
        if not scan.is_over:
            return replace(self, scan=scan), "", ()
        json = self.held[self.payload : scan.at]
        calls = tuple[ToolCall, ...]()
        if not self.name:
            calls = calls_in(json, self.form, self.names, self.new_id)
        elif is_object(json):
            calls = (ToolCall(self.new_id(), self.name, json),)
        if not calls or self.calls + len(calls) > CALLS_MAX:
            return self._no_call()
        after = replace(self._past(scan.at), phase=_Phase.ENDED, calls=self.calls + len(calls))
        return after, "", calls

    def _head(self) -> tuple["CallReader", str, tuple[ToolCall, ...]]:
        """Find where the JSON begins: after space, or after the tool's name and its marker."""
        begin, marker = len(self.form.begin), self.form.arguments_marker
        name = ""
        if marker:
            where = self.held.find(marker, begin)
            if where < 0:
                might_come = max(map(len, self.names), default=0) + _CALL_ID_MAX_CHARACTERS + len(marker)
                return self._no_call() if len(self.held) - begin > might_come else (self, "", ())
            name, begin = self.held[begin:where].partition(_CALL_ID)[0], where + len(marker)
            if name not in self.names:
                return self._no_call()
        rest = self.held[begin:].lstrip(_SPACE)
        if not rest:
            return self._no_call() if len(self.held) > CALL_SIZE_MAX_CHARACTERS else (self, "", ())
        payload = len(self.held) - len(rest)
        if rest[0] != "{" and (marker or rest[0] != "["):
            return self._no_call()
        return replace(self, name=name, payload=payload, scan=JsonScan(payload)), "", ()

    def _no_call(self) -> tuple["CallReader", str, tuple[ToolCall, ...]]:
        """Give back as text what looked like the beginning of a call; the rest is looked at anew."""
        is_bare = not self.held.startswith(self.form.begin)
        size = (self.payload or 0) + 1 if is_bare else len(self.form.begin)
        no_calls = self.no_calls + (self.payload is not None)
        return replace(self._past(size), phase=_Phase.TEXT, no_calls=no_calls), self.held[:size], ()

    def _ended(self) -> tuple["CallReader", str]:
        rest = self.held.lstrip(_SPACE)
        space = len(self.held) - len(rest)
        end, begin = self.form.end, self.form.begin
        if end and rest.startswith(end):
            return self._past(space + len(end)), ""
        if rest.startswith(begin):
            return replace(self._past(space), phase=_Phase.CALL), ""
        if self.form.may_begin_bare and rest.lstrip(_SPACE + ";").startswith("{"):
            start = len(self.held) - len(rest.lstrip(_SPACE + ";"))
            return replace(self, phase=_Phase.CALL, payload=start, scan=JsonScan(start)), ""
        is_undecided = end.startswith(rest) or begin.startswith(rest)
        if is_undecided or (self.form.may_begin_bare and not rest.strip(_SPACE + ";")):
            return self, ""
        return replace(self, phase=_Phase.TEXT), ""

    def _past(self, size: int) -> "CallReader":
        """Let `size` characters go: each step that begins in them counts."""
        tokens, start, rest = self.tokens, 0, list[tuple[int, int]]()
        for end, count in self.ends:
            if start < size or end <= size:
                tokens = count
            if end > size:
                rest.append((end - size, count))
            start = end
        return replace(
            self,
            tokens=tokens,
            held=self.held[size:],
            ends=tuple(rest),
            payload=None,
            name="",
            scan=_UNSEEN,
        )


def _overlap(text: str, begin: str) -> int:
    """How many characters at the end of `text` could be the beginning of `begin`."""
    return next(
        (size for size in range(min(len(text), len(begin) - 1), 0, -1) if begin.startswith(text[-size:])), 0
    )
