"""Which bytes a model is: the canonical manifest of its files, and the hash over it.

The manifest is one line for each file, in the order of their names in UTF-8,
`<SHA-256 in hex> <size in bytes> <name>\\n`. The weights hash is SHA-256 over
"cocoon/weights/1\\0" and the manifest. A file that is a model by itself is called `model`
there, whatever the owner called it, and the parts of a split one `model-1`, `model-2`:
who renames a download still serves the same model. Adapters are in folders `adapter-1`, ...

Spec: inference/engines.md. Vectors: inference/vectors/weights.json.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.hash_memory import HashMemory

_SPLIT = re.compile(r"^(?P<stem>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf$")
FOLDER_SUFFIXES: Final = (".safetensors", ".json", ".jinja", ".model")
"What decides how a model in a folder answers: weights, configuration, tokenizer, chat template."

SPEECH_WEIGHTS: Final = "model.bin"
SPEECH_FILES: Final = (SPEECH_WEIGHTS, "vocabulary.txt")
"The same of a Whisper model in CTranslate2's form, beside what ends in .json."

FILES_MAX: Final = 1024
"Files of one model; the largest that are published have some 200 parts."

ADAPTER_FILES: Final = ("adapter_config.json", "adapter_model.safetensors")
"What decides how an adapter changes a model."

_CHUNK_SIZE_BYTES: Final = 8 * 1024 * 1024
"Hashed between two looks at whether anybody still waits: some milliseconds."

PROGRESS_SECONDS: Final = 1.0
"How often it is said how far the hashing is; sooner than that nobody need know."

Progress = Callable[[int, int], None]
"Told, on trio's thread, how many bytes of how many are hashed."


def model_files(model: Path, adapters: Sequence[Path] = ()) -> Mapping[str, Path]:
    """List a model's files under their names in its manifest. Blocks.

    Args:
        model: A GGUF file (of a split one, its first part), or a folder with weights and tokenizer.
        adapters: Folders of the LoRA adapters that it is served with, in their order.

    Raises:
        ConfigurationError: There is nothing, a part is missing, there are too many, or a name is none
            that a manifest can hold.
    """
    if model.is_dir():
        files = {file.name: file for file in model.iterdir() if is_model_file(file.name)}
    elif parts := split_parts(model.name):
        files = {f"model-{part}": model.with_name(name) for part, name in enumerate(parts, start=1)}
    else:
        files = {"model": model}
    for number, adapter in enumerate(adapters, start=1):
        files |= {f"adapter-{number}/{name}": adapter / name for name in ADAPTER_FILES}
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing or not files:
        raise ConfigurationError(
            f"model files are missing (path={model} missing={', '.join(missing[:8]) or 'all'})",
            hint="check the path, and that every part was downloaded",
        )
    if len(files) > FILES_MAX:
        raise ConfigurationError(f"too many files for one model (path={model} max={FILES_MAX})")
    for name in files:
        # A line end would forge another line.
        if not name.isprintable():
            raise ConfigurationError(f"not a name for a model's file: {name!r}", hint="rename the file")
    return dict(sorted(files.items()))


def is_model_file(name: str) -> bool:
    """Say whether a file in a model's folder belongs to the model, by its name."""
    return name in SPEECH_FILES or name.endswith(FOLDER_SUFFIXES)


def split_parts(name: str) -> list[str]:
    """Name all parts of the split GGUF file that a file of this name is one of; none if it is whole.

    One more than `FILES_MAX` at the most.
    """
    split = _SPLIT.match(name)
    if split is None:
        return []
    count = min(int(split["parts"]), FILES_MAX + 1)
    return [f"{split['stem']}-{part:05}-of-{split['parts']}.gguf" for part in range(1, count + 1)]


async def weights_hash(
    model: Path,
    *,
    adapters: Sequence[Path] = (),
    memory: HashMemory | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Hash a model's files, in a thread. Some gigabytes take some seconds.

    Cancelled, the thread ends within some milliseconds.

    Args:
        model: As `model_files` takes it.
        adapters: As well. A model with an adapter is another model.
        memory: What files that have not changed since hashed to; None hashes all of them.
        progress: Told how far it is, each `PROGRESS_SECONDS`.

    Raises:
        ConfigurationError: A file is missing, cannot be read, or changed meanwhile.
    """

    def hash_files() -> bytes:
        try:
            files = model_files(model, adapters)
            hashing = _Hashing(files.values(), memory, progress)
            found = [(name, *hashing.hash(file)) for name, file in files.items()]
        except OSError as exc:
            raise ConfigurationError(
                f"cannot read the model file: {exc.strerror} (path={exc.filename})",
                hint="check that this user may read it",
            ) from exc
        if memory is not None:
            memory.save()
        return manifest_hash(found)

    return await trio.to_thread.run_sync(hash_files)


def check_weights(model: Path, found: bytes, expected: bytes | None) -> None:
    """Refuse a model whose weights hash is not the one that was agreed on, if one was.

    Raises:
        ConfigurationError: It has other weights.
    """
    if expected is not None and found != expected:
        raise ConfigurationError(
            f"the model has other weights "
            f"(expected={expected.hex()[:16]} found={found.hex()[:16]} path={model})",
            hint="download the model that was agreed on, or change the hash in the configuration",
        )


def manifest(files: Sequence[tuple[str, bytes, int]]) -> bytes:
    """Spell the canonical manifest of files given as name, SHA-256 and size in bytes."""
    return "".join(f"{digest.hex()} {size} {name}\n" for name, digest, size in sorted(files)).encode()


def manifest_hash(files: Sequence[tuple[str, bytes, int]]) -> bytes:
    """Hash the canonical manifest of such files."""
    return hashlib.sha256(b"cocoon/weights/1\0" + manifest(files)).digest()


class _Hashing:
    """The files of one model being hashed, in a thread of trio's."""

    def __init__(self, files: Iterable[Path], memory: HashMemory | None, progress: Progress | None) -> None:
        self._memory = memory
        self._progress = progress
        self._done_bytes = 0
        self._total_bytes = sum(file.stat().st_size for file in files) if progress else 0
        self._told_at = time.monotonic()

    def hash(self, file: Path) -> tuple[bytes, int]:
        """Give a file's SHA-256 and its size in bytes."""
        with file.open("rb") as stream:
            before = os.fstat(stream.fileno())
            known = None if self._memory is None else self._memory.recall(file, before)
            if known is not None:
                self._done_bytes += before.st_size
                return known, before.st_size
            digest, size = self._read(stream)
            after = os.fstat(stream.fileno())
        if (before.st_size, before.st_mtime_ns) != (
            after.st_size,
            after.st_mtime_ns,
        ) or size != after.st_size:
            raise ConfigurationError(
                f"the model changed while it was hashed (path={file})", hint="wait until its download is done"
            )
        if self._memory is not None:
            self._memory.keep(file, after, digest)
        return digest, size

    def _read(self, stream: BinaryIO) -> tuple[bytes, int]:
        digest, size = hashlib.sha256(), 0
        while chunk := stream.read(_CHUNK_SIZE_BYTES):
            trio.from_thread.check_cancelled()
            digest.update(chunk)
            size += len(chunk)
            self._done_bytes += len(chunk)
            self._tell()
        return digest.digest(), size

    def _tell(self) -> None:
        now = time.monotonic()
        if self._progress is not None and now >= self._told_at + PROGRESS_SECONDS:
            self._told_at = now
            trio.from_thread.run_sync(self._progress, self._done_bytes, self._total_bytes)
