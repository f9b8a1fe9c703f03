"""What a model's name means: a catalogue's entry, one TOML file a model.

    [model]
    name = "qwen3-0.6b-q8_0"
    family = "qwen3"
    licence = "Apache-2.0"
    context_tokens = 32_768
    source = "hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf"
    revision = "23749fefcc72300e3a2ad315e1317431b06b590a"

    [[file]]
    name = "Qwen3-0.6B-Q8_0.gguf"
    size_bytes = 639_446_688
    sha256 = "9465e63a22add5354d9bb4b99e90117043c7124007664907259bd16d043bb031"

A catalogue says by such files which bytes everybody should mean; beside a model that was pulled
lies one that says which bytes came. They are read strictly: all mistakes at once, with their lines.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, cast

import msgspec

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.manifest import (
    FILES_MAX,
    FOLDER_SUFFIXES,
    SPEECH_FILES,
    SPEECH_WEIGHTS,
    is_model_file,
    manifest_hash,
    split_parts,
)
from cocoon_p2p.inference.models.source import parse_source
from cocoon_p2p.strict_toml import (
    ConfigurationMistakes,
    Mistake,
    Where,
    locate,
    meant,
    read_toml,
    table_mistakes,
)

SIZE_MAX_BYTES = 1 << 20
"Of an entry: 1,024 files take some 200 kB."

GGUF: Final = ".gguf"
SAFETENSORS: Final = ".safetensors"

NAME_PATTERN = r"\A[a-z0-9][a-z0-9._-]{0,95}\Z"
"""In lower case and without a slash: a name is a folder's name too, also where cases are not told apart.
`$` would let a line end pass."""

FILE_PATTERN = r"\A[A-Za-z0-9_][A-Za-z0-9._ +()-]{0,199}\Z"

LINE_MAX: Final = 256

Line = Annotated[str, msgspec.Meta(max_length=LINE_MAX, pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]
ModelName = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
FileName = Annotated[str, msgspec.Meta(pattern=FILE_PATTERN)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
FileSize = Annotated[int, msgspec.Meta(ge=1, le=1 << 50)]
TemplateKind = Annotated[str, msgspec.Meta(pattern=r"\A(own|none)\Z")]


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a model."""

    name: FileName
    size_bytes: FileSize
    sha256: Sha256


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a model: the vocabulary of `[model]`."""

    name: ModelName
    family: Line = ""
    licence: Line = ""
    "An SPDX identifier, or what its publisher calls it. Empty: nobody said."

    context_tokens: Annotated[int, msgspec.Meta(ge=0, le=1 << 31)] = 0
    "What it was trained for, prompt and answer together; 0 where that is not said."

    template: TemplateKind = "own"
    "own: chats go by the template that the model's files bring. none: it completes text, chats are refused."

    source: Line = ""
    "As `cocoon model pull` takes it. Empty: it comes along, or is handed on by other means."

    revision: Line = ""


class ModelEntry(ModelFacts, frozen=True, kw_only=True):
    """A model: what it is called, and which bytes that means."""

    files: tuple[FileEntry, ...]
    "In the order of their names."

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def main_file(self) -> str:
        """What an engine is given: the GGUF file or a split one's first part; empty for a folder."""
        return self.files[0].name if self.files[0].name.endswith(GGUF) else ""

    @property
    def weights_hash(self) -> bytes:
        """The hash over the canonical manifest of its files (inference/engines.md)."""
        names = [file.name for file in self.files]
        if split_parts(self.main_file):
            names = [f"model-{part}" for part in range(1, len(names) + 1)]
        elif self.main_file:
            names = ["model"]
        return manifest_hash(
            [
                (name, bytes.fromhex(file.sha256), file.size_bytes)
                for name, file in zip(names, self.files, strict=True)
            ]
        )


def files_mistake(names: Sequence[str]) -> str:
    """Say why files of these names, in order, are no model; empty if they are one."""
    ggufs = [name for name in names if name.endswith(GGUF)]
    if len(names) > FILES_MAX:
        return f"too many files for one model (count={len(names)} max={FILES_MAX})"
    if ggufs and list(names) != (split_parts(ggufs[0]) or ggufs[:1]):
        return "a GGUF model is one .gguf file, or all parts of a split one, and nothing else"
    if not ggufs and SPEECH_WEIGHTS not in names and not any(name.endswith(SAFETENSORS) for name in names):
        return f"a model is a .gguf file, or a folder with .safetensors files or {SPEECH_WEIGHTS}"
    others = [name for name in names if not (name.endswith(GGUF) or is_model_file(name))]
    if others:
        return f"not a model's file: {others[0]} (known: {', '.join(FOLDER_SUFFIXES + SPEECH_FILES)})"
    return ""


def read_entry(path: Path) -> ModelEntry:
    """Read an entry. Blocks.

    Raises:
        ConfigurationError: It cannot be read.
        ConfigurationMistakes: It is not TOML, or is no entry: all that is wrong with it.
    """
    what = "a catalogue's entry, a small TOML file"
    if path.is_file() and path.stat().st_size > SIZE_MAX_BYTES:
        raise ConfigurationError(f"{path} is too large (limit={SIZE_MAX_BYTES} bytes)", hint=f"name {what}")
    source, tables = read_toml(path, what=what)
    mistakes = [Mistake(*locate(source, where), text) for where, text in _mistakes(tables)]
    if mistakes:
        raise ConfigurationMistakes(path, source, mistakes)
    entry = msgspec.convert({**tables["model"], "files": tables["file"]}, ModelEntry)
    return msgspec.structs.replace(entry, files=tuple(sorted(entry.files, key=lambda file: file.name)))


def _mistakes(tables: dict[str, Any]) -> list[tuple[Where, str]]:
    found: list[tuple[Where, str]] = []
    found += [
        ((name, ""), f"unknown section [{name}]{meant(name, ('model', 'file'))}")
        for name in tables
        if name not in ("model", "file")
    ]
    model: object = tables.get("model")
    if isinstance(model, dict):
        table = cast("dict[str, Any]", model)
        found += table_mistakes("model", ModelFacts, table)
        found += _source_mistakes(table.get("source"), table.get("revision"))
    else:
        found.append((("model", ""), "section [model] is missing"))
    return found + _file_mistakes(tables.get("file"))


def _file_mistakes(files: object) -> list[tuple[Where, str]]:
    if not isinstance(files, list) or not files:
        return [(("file", ""), "a model has files: [[file]] is missing")]
    listed = cast("list[object]", files)
    if len(listed) > FILES_MAX:
        return [(("file 1", ""), files_mistake([""] * len(listed)))]
    found: list[tuple[Where, str]] = []
    seen = dict[object, int]()
    for number, file in enumerate(listed, start=1):
        where = f"file {number}"
        if not isinstance(file, dict):
            found.append((("file", ""), "[[file]] is a section, not a value"))
            continue
        table = cast("dict[str, Any]", file)
        found += table_mistakes(where, FileEntry, table)
        name = str(table.get("name", number)).casefold()
        if name in seen:
            found.append(((where, "name"), f"[file {seen[name]}] has that name too"))
        seen[name] = number
    if not found:
        wrong = files_mistake(sorted(str(cast("dict[str, Any]", file)["name"]) for file in listed))
        found += [(("file 1", ""), wrong)] if wrong else []
    return found


def _source_mistakes(source: object, revision: object) -> list[tuple[Where, str]]:
    if not isinstance(source, str) or not source:
        return []
    try:
        parse_source(source, revision if isinstance(revision, str) else "")
    except ConfigurationError as exc:
        return [(("model", "source"), f"`source`: {exc}")]
    return []


def spell_entry(entry: ModelEntry) -> str:
    """Write an entry as TOML, the way `read_entry` reads it."""
    facts = msgspec.structs.asdict(entry)
    del facts["files"]
    tables = [("[model]", facts)]
    tables += [("[[file]]", msgspec.structs.asdict(file)) for file in entry.files]
    return "\n".join(_table(header, values) for header, values in tables)


def _table(header: str, values: dict[str, Any]) -> str:
    # What JSON escapes in a string, TOML reads the same way; controls were never let in.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()]
    return f"{header}\n{''.join(lines)}"


def is_file_name(text: str) -> bool:
    """Whether a text can be the name of a model's file."""
    return re.fullmatch(FILE_PATTERN, text) is not None
