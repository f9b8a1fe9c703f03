"""Whisper's tokens: which is which, what they stand for, and how a hint is split into them."""

import re
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from cocoon_p2p.errors import ConfigurationError

HINT_TOKENS_MAX: Final = 223
"Half of what the decoder takes, less the token that says what they are: the end of a hint counts."

_LANGUAGE = re.compile(r"^<\|([a-z]{2,3})\|>$")


class Vocabulary:
    """A model's tokens, read from its tokenizer.json. Its methods may be called from many threads.

    Args:
        path: The file, in the form of Hugging Face's `tokenizers`.

    Raises:
        ConfigurationError: The library is missing, or the file is none of Whisper's.
    """

    def __init__(self, path: Path) -> None:
        try:
            library: Any = import_module("tokenizers")
        except ImportError as exc:
            raise ConfigurationError(
                f"speech needs tokenizers: {exc}", hint="install it with: pip install 'cocoon-p2p[speech]'"
            ) from exc
        try:
            tokenizer: Any = library.Tokenizer.from_file(str(path))
        except Exception as exc:  # the library raises nothing more precise
            raise ConfigurationError(
                f"cannot read {path}: {exc}", hint="take the tokenizer.json of the same Whisper model"
            ) from exc
        # A hint is words: `<|endoftext|>` in it is no command.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._path = path
        self.end = self._id("<|endoftext|>")
        self.first_mark = self._id("<|notimestamps|>") + 1
        self._start = self._id("<|startoftranscript|>")
        ids: dict[str, int] = tokenizer.get_vocab(True)
        self.languages = {match[1]: ids[name] for name in ids if (match := _LANGUAGE.match(name))}
        self._bytes = _byte_values()

    def text_of(self, token: int) -> bytes:
        """Give a token's text, which may be a part of a character. A control token has none."""
        if token >= self.end:
            return b""
        name: str | None = self._tokenizer.id_to_token(token)
        return bytes(self._bytes[character] for character in name or "" if character in self._bytes)

    def prompt(self, hint: str, language: str | None) -> list[int]:
        """Write what the decoder begins with.

        Args:
            hint: Names and words that occur in the sound, or nothing.
            language: Of `languages`; None for a model that knows English alone.
        """
        words: list[int] = []
        if hint.strip():
            split: Iterable[int] = self._tokenizer.encode(" " + hint.strip(), add_special_tokens=False).ids
            words = [self._id("<|startofprev|>"), *[id for id in split if id < self.end][-HINT_TOKENS_MAX:]]
        task = [] if language is None else [self.languages[language], self._id("<|transcribe|>")]
        return [*words, self._start, *task]

    def _id(self, name: str) -> int:
        found: int | None = self._tokenizer.token_to_id(name)
        if found is None:
            raise ConfigurationError(
                f"{self._path} is not Whisper's: it has no {name}",
                hint="take the tokenizer.json of the same Whisper model",
            )
        return found


def _byte_values() -> dict[str, int]:
    """GPT-2's spelling of bytes: those that print stand for themselves, the others for what follows 255."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [value for value in range(256) if value not in set(plain)]
    return {chr(value): value for value in plain} | {chr(256 + n): value for n, value in enumerate(others)}
