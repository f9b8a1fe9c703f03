"""What form an answer must have, as the tokens that may come next: by `llguidance`, from a schema or a regex.

Of the libraries that do this it has no dependencies (a wheel of 3 MB), and it bounds most of what a grammar
may cost: a step that takes more than its fuel is an error of its own. Its bounds are set lower here, since a
step of one answer is a step of all that run with it. It sees only what `inference.constraints` takes.
"""

import importlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.constraints import ConstraintRefused, gbnf_of
from cocoon_p2p.inference.engine import RequestMalformed
from cocoon_p2p.inference.exllama.call_grammar import ANY_OBJECT, JSON_SPELLING, calls_lark
from cocoon_p2p.inference.exllama.model_folder import ModelFolder, tokenizer_text
from cocoon_p2p.inference.tools import CallForm
from cocoon_p2p.inference.wishes import Constraint, Grammar, Tool

FORM_SECONDS_MAX: Final = 2.0
"""How long an answer's form may be thought about in all, beyond what `FORM_SECONDS_A_TOKEN` adds: others wait
meanwhile."""

FORM_SECONDS_A_TOKEN: Final = 0.005
"Ten times what an ordinary schema takes."

_LIMITS: Final = {
    "initial_lexer_fuel": 200_000,
    "step_lexer_fuel": 20_000,
    "step_max_items": 20_000,
    "max_items_in_row": 2_000,
    "max_lexer_states": 50_000,
    "max_grammar_size": 200_000,
    "verbose_errors": False,
}
"A tenth of the library's own, which let one token take half a second and 200 MB."


class Form:
    """Of one answer, as far as it has come. One thread at a time."""

    def __init__(self, matcher: Any, ends: frozenset[int]) -> None:
        self._matcher = matcher
        self._ends = ends
        self._seconds_left = FORM_SECONDS_MAX

    @property
    def has_failed(self) -> bool:
        """Whether the rest cannot be told: it takes too long, or more than may be spent on it."""
        return self._seconds_left < 0 or bool(self._matcher.is_error())

    def allowed(self) -> bytes:
        """Say which tokens may come next: a bit for each, the lowest first. An end token is among them
        where the answer may end. Of a form that has failed it is only that."""
        if self.has_failed:
            return _bits(self._ends)
        started = time.monotonic()
        bits: bytes = self._matcher.compute_bitmask()
        self._seconds_left += FORM_SECONDS_A_TOKEN - (time.monotonic() - started)
        return bits

    def take(self, token: int) -> None:
        """Go on by a token that was allowed."""
        if token not in self._ends:
            self._matcher.consume_token(token)

    def take_back(self, tokens: Sequence[int]) -> None:
        """Go back before these tokens, the last that were taken."""
        self._matcher.rollback(sum(token not in self._ends for token in tokens))


class Forms:
    """Makes forms for the tokens of one model. Any thread. Blocks.

    Raises:
        ConfigurationError: The library is missing, or cannot read the model's tokenizer.
    """

    def __init__(self, folder: ModelFolder, vocabulary: Mapping[str, int]) -> None:
        self._vocabulary = vocabulary
        try:
            self._library = importlib.import_module("llguidance")
        except ImportError as exc:
            raise ConfigurationError(
                f"answers cannot be kept to a form: {exc}",
                hint="install it with: pip install 'cocoon-p2p[exllama]'",
            ) from exc
        self._ends = folder.eos_ids
        try:
            self._tokenizer = self._library.LLTokenizer(
                tokenizer_text(folder.path), eos_token=sorted(folder.eos_ids)
            )
        # It raises nothing narrower.
        except Exception as exc:
            raise ConfigurationError(
                f"{folder.path / 'tokenizer.json'} is no tokenizer that forms can be made for: {exc}",
                hint="download it again from the model's publisher",
            ) from exc
        self._limits = self._library.LLParserLimits(**_LIMITS)

    def make(self, constraint: Constraint, answered: list[int]) -> Form:
        """Make a form, and go on by what was answered already.

        Raises:
            RequestMalformed: It is none, is beyond what is taken, or what was answered has not this form.
        """
        # llama.cpp's grammar is not used. Writing it refuses what could take for ever, as `multipleOf` does
        # here, and both engines then take the same.
        gbnf_of(constraint)
        matcher = self._matcher(self._grammar(constraint))
        if matcher.is_error():
            # Its words may quote the constraint.
            raise RequestMalformed(f"the {constraint.grammar} is one that this engine cannot keep to")
        return self._form(matcher, answered)

    def make_calls(self, form: CallForm, tools: tuple[Tool, ...], answered: list[int]) -> Form:
        """Make the form of an answer that calls one of these tools, and go on by what was answered already.

        Raises:
            RequestMalformed: What was answered has not this form, or there are too many tools to keep to.
        """
        grammar = calls_lark(form, tools, self._control_token, self._is_kept)
        return self._form(self._matcher(self._library.LLMatcher.grammar_from_lark(grammar)), answered)

    def _form(self, matcher: Any, answered: list[int]) -> Form:
        form = Form(matcher, self._ends)
        form.allowed()
        if form.has_failed:
            raise RequestMalformed("the form that is asked for takes too much to keep to")
        if answered and not matcher.consume_tokens(answered):
            raise RequestMalformed("what was answered already has not the form that is asked for")
        return form

    def _matcher(self, grammar: str) -> Any:
        return self._library.LLMatcher(self._tokenizer, grammar, log_level=0, limits=self._limits)

    def _is_kept(self, schema: str) -> bool:
        try:
            gbnf_of(Constraint(Grammar.JSON_SCHEMA, schema))
        except ConstraintRefused:
            return False
        return not self._matcher(self._library.LLMatcher.grammar_from_json_schema(schema)).is_error()

    def _control_token(self, text: str) -> int | None:
        number = self._vocabulary.get(text)
        return number if number is not None and self._tokenizer.is_special_token(number) else None

    def text(self, token: int) -> bytes:
        """Say what a token spells, which may be a part of a character."""
        spelled: bytes = self._tokenizer.decode_bytes([token])
        return spelled

    def _grammar(self, constraint: Constraint) -> str:
        library: Any = self._library.LLMatcher
        if constraint.grammar is Grammar.REGEX:
            return str(library.grammar_from_regex(constraint.text))
        schema = ANY_OBJECT if constraint.grammar is Grammar.JSON_OBJECT else constraint.text
        try:
            return str(library.grammar_from_json_schema(schema, overrides=JSON_SPELLING))
        except (ValueError, RecursionError) as exc:
            raise RequestMalformed("the schema is no JSON") from exc


def _bits(tokens: frozenset[int]) -> bytes:
    number = sum(1 << token for token in tokens)
    return number.to_bytes(max(tokens) // 8 + 1, "little")
