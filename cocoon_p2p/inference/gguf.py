"""The head of a GGUF file: what the model is, how it splits text, how it wants to be spoken to.

Read without any engine, so that a wrong file is refused with a sentence before gigabytes
are mapped, and so that hashes do not depend on the engine. Lists (vocabularies have
150,000 entries) are walked over and read only where asked.

Spec: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

import hashlib
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cocoon_p2p.errors import ConfigurationError

_DOWNLOAD_AGAIN = "download the file again and compare its size with its publisher's"

_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS: Final[Mapping[int, str]] = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
"Type number in the file -> how `struct` reads it."

HEAD_MAX_BYTES: Final = 128 * 1024 * 1024
"""The largest vocabularies known take some twenty. More could not be a head, only a file made to be read for
ever: of 40 GB all would be walked over, and kept."""

ENTRIES_MAX: Final = 65_536
"Files have some thirty."

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class GgufHead:
    """The metadata of one GGUF file."""

    path: Path
    values: Mapping[str, Value]
    "Everything that is no list."

    tokenizer_hash: bytes
    "SHA-256 over all entries under `tokenizer.`, lists and chat template too, as they stand in the file."

    bos: str
    eos: str
    "The texts of the tokens that begin and end, or empty."

    token_size_max_bytes: int
    "The longest token as the file spells it, which is never shorter than its text; 0 if unknown."

    vocabulary: int = 0
    "How many tokens there are; 0 if unknown."

    @property
    def architecture(self) -> str:
        return self.text("general.architecture")

    @property
    def chat_template(self) -> str:
        """The model's own Jinja template, or empty."""
        return self.text("tokenizer.chat_template")

    @property
    def context_tokens(self) -> int:
        """The context that the model was trained for, or 0 if the file does not say."""
        return self.number(f"{self.architecture}.context_length")

    def text(self, key: str) -> str:
        value = self.values.get(key, "")
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        value = self.values.get(key, 0)
        return value if isinstance(value, int) else 0


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a value stands in the file. The kind of a list is that of its items."""

    kind: int
    start: int
    end: int
    items: int | None = None


def read_gguf(path: Path) -> GgufHead:
    """Read a GGUF file's metadata. Blocks: a large vocabulary takes a tenth of a second.

    Raises:
        ConfigurationError: There is no such file, it is no GGUF file, or it was cut off.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(path, data).head()
    except FileNotFoundError:
        raise ConfigurationError(f"no such model file (path={path})", hint="check the path") from None
    except (struct.error, IndexError):
        raise ConfigurationError(
            f"the model file ends inside its own head (path={path})", hint=_DOWNLOAD_AGAIN
        ) from None
    except ValueError:  # mmap's word for an empty file
        raise ConfigurationError(f"the model file is empty (path={path})", hint=_DOWNLOAD_AGAIN) from None
    except OSError as exc:
        raise ConfigurationError(
            f"cannot read the model file: {exc.strerror} (path={path})",
            hint="name a .gguf file that this user may read",
        ) from exc


class _Reader:
    """One pass over a mapped file. Reading past its end raises `struct.error` or `IndexError`."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._at = 0

    def head(self) -> GgufHead:
        if self._data[:4] != b"GGUF":
            raise ConfigurationError(
                f"not a GGUF file (path={self._path})",
                hint="llama.cpp runs models in the GGUF format; download the model's .gguf file",
            )
        self._at = 4
        version = self._number("I")
        if version not in _VERSIONS:
            raise ConfigurationError(
                f"GGUF version {version} is unknown here (path={self._path})",
                hint="versions 2 and 3 can be read; convert the model again",
            )
        tensors, count = self._number("Q"), self._number("Q")
        if count > ENTRIES_MAX:
            raise self._absurd(f"entries={count}")
        entries = dict(self._entry() for _ in range(count))
        self._check_tensors(tensors)
        return GgufHead(
            path=self._path,
            values={key: self._value(entry) for key, entry in entries.items() if entry.items is None},
            tokenizer_hash=self._tokenizer_hash(entries),
            bos=self._token(entries, "bos"),
            eos=self._token(entries, "eos"),
            token_size_max_bytes=self._longest_token(entries),
            vocabulary=(tokens.items or 0) if (tokens := entries.get("tokenizer.ggml.tokens")) else 0,
        )

    def _number(self, shape: str) -> int:
        (value,) = struct.unpack_from("<" + shape, self._data, self._at)
        self._at += struct.calcsize("<" + shape)
        return int(value)

    def _skip(self, size: int) -> None:
        self._at += size
        if self._at > len(self._data):
            raise IndexError
        if self._at > HEAD_MAX_BYTES:
            raise self._absurd(f"more than {HEAD_MAX_BYTES} bytes")

    def _absurd(self, why: str) -> ConfigurationError:
        return ConfigurationError(
            f"the model file has an absurd head ({why} path={self._path})", hint=_DOWNLOAD_AGAIN
        )

    def _string(self) -> str:
        size = self._number("Q")
        start = self._at
        self._skip(size)
        return self._data[start : self._at].decode("utf-8", "replace")

    def _skip_value(self, kind: int, items: int = 1) -> None:
        if kind == _STRING:
            for _ in range(items):
                self._skip(self._number("Q"))
        elif kind in _SCALARS:
            self._skip(items * struct.calcsize("<" + _SCALARS[kind]))
        else:
            raise ConfigurationError(
                f"the model file holds a value of unknown type {kind} (path={self._path})",
                hint=_DOWNLOAD_AGAIN,
            )

    def _entry(self) -> tuple[str, _Entry]:
        key, kind, items = self._string(), self._number("I"), None
        if kind == _ARRAY:
            kind, items = self._number("I"), self._number("Q")
        start = self._at
        self._skip_value(kind, 1 if items is None else items)
        return key, _Entry(kind, start, self._at, items)

    def _value(self, entry: _Entry) -> Value:
        self._at = entry.start
        if entry.kind == _STRING:
            return self._string()
        (value,) = struct.unpack_from("<" + _SCALARS[entry.kind], self._data, entry.start)
        assert isinstance(value, int | float)
        return value

    def _token(self, entries: Mapping[str, _Entry], which: str) -> str:
        """The text of the token whose number stands under `which`, or empty."""
        number = entries.get(f"tokenizer.ggml.{which}_token_id")
        tokens = entries.get("tokenizer.ggml.tokens")
        if number is None or tokens is None or tokens.items is None or tokens.kind != _STRING:
            return ""
        index = self._value(number)
        if not isinstance(index, int) or not 0 <= index < tokens.items:
            return ""
        self._at = tokens.start
        self._skip_value(_STRING, index)
        return self._string()

    def _longest_token(self, entries: Mapping[str, _Entry]) -> int:
        tokens = entries.get("tokenizer.ggml.tokens")
        if tokens is None or tokens.items is None or tokens.kind != _STRING:
            return 0
        self._at, longest = tokens.start, 0
        for _ in range(tokens.items):
            size = self._number("Q")
            self._skip(size)
            longest = max(longest, size)
        return longest

    def _tokenizer_hash(self, entries: Mapping[str, _Entry]) -> bytes:
        digest = hashlib.sha256(b"cocoon/tokenizer/1\0")
        for key, entry in sorted(entries.items()):
            if key.startswith("tokenizer."):
                name = key.encode()
                digest.update(
                    struct.pack("<QIQQ", len(name), entry.kind, entry.items or 0, entry.end - entry.start)
                )
                digest.update(name)
                digest.update(self._data[entry.start : entry.end])
        return digest.digest()

    def _check_tensors(self, tensors: int) -> None:
        """Refuse a file that ends before its last tensor begins; the engine checks where that one ends."""
        last_offset = 0
        for _ in range(tensors):
            self._string()
            dimensions = self._number("I")
            self._skip(8 * dimensions + 4)
            last_offset = max(last_offset, self._number("Q"))
        if self._at + last_offset > len(self._data):
            raise ConfigurationError(
                f"the model file is shorter than it says (path={self._path} size={len(self._data)} bytes)",
                hint=_DOWNLOAD_AGAIN,
            )
