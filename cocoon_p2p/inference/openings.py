"""How a model on this machine is opened, as data: the same for an engine in this process and in its own.

A worker's file comes to one of these (`node.engine`). `open` runs the engine here; `isolated.open_isolated`
sends the very same data to a process that opens it there.
"""

import dataclasses
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.inference.hash_memory import HashMemory
from cocoon_p2p.inference.manifest import Progress

if TYPE_CHECKING:
    from cocoon_p2p.inference.exllama import ExllamaSettings


class LlamaCppOpening(msgspec.Struct, frozen=True, kw_only=True, tag="llama.cpp"):
    """A GGUF file, for llama.cpp. What the fields mean stands at `open_llamacpp`."""

    model: Path
    name: str | None = None
    slots: int = 4
    context_tokens: int | None = None
    threads: int | None = None
    has_chat: bool = True
    expected_weights_hash: bytes | None = None

    def open(
        self, memory: HashMemory | None, progress: Progress | None
    ) -> AbstractAsyncContextManager[Engine]:
        """Open it in this process. Raises as `open_llamacpp` does."""
        from cocoon_p2p.inference.llamacpp import open_llamacpp

        return open_llamacpp(
            self.model,
            name=self.name,
            slots=self.slots,
            context_tokens=self.context_tokens,
            threads=self.threads,
            has_chat=self.has_chat,
            expected_weights_hash=self.expected_weights_hash,
            memory=memory,
            progress=progress,
        )


class ExllamaOpening(msgspec.Struct, frozen=True, kw_only=True, tag="exllamav2"):
    """A folder, for ExLlamaV2. What the fields mean stands at `open_exllama`."""

    model: Path
    name: str | None = None
    settings: dict[str, Any] = {}
    "Fields of `ExllamaSettings`, which is not imported before it is needed."

    has_chat: bool = True
    expected_weights_hash: bytes | None = None

    def open(
        self, memory: HashMemory | None, progress: Progress | None
    ) -> AbstractAsyncContextManager[Engine]:
        """Open it in this process. Raises as `open_exllama` does."""
        from cocoon_p2p.inference.exllama import open_exllama

        return open_exllama(
            self.model,
            name=self.name,
            settings=self.exllama_settings(),
            has_chat=self.has_chat,
            expected_weights_hash=self.expected_weights_hash,
            memory=memory,
            progress=progress,
        )

    def exllama_settings(self) -> "ExllamaSettings":
        """Give the settings as the engine takes them.

        Raises:
            ValidationError: It has no such settings, or not such values: a fault of ours.
        """
        from cocoon_p2p.inference.exllama import ExllamaSettings

        known = {field.name for field in dataclasses.fields(ExllamaSettings)}
        if unknown := self.settings.keys() - known:
            raise msgspec.ValidationError(f"unknown settings: {', '.join(sorted(unknown))}")
        return msgspec.convert(self.settings, ExllamaSettings, dec_hook=_path)


class WhisperOpening(msgspec.Struct, frozen=True, kw_only=True, tag="whisper"):
    """A folder with `model.bin`, for Whisper. What the fields mean stands at `open_whisper`."""

    model: Path
    name: str | None = None
    slots: int = 4
    context_tokens: int | None = None
    threads: int | None = None
    expected_weights_hash: bytes | None = None

    def open(
        self, memory: HashMemory | None, progress: Progress | None
    ) -> AbstractAsyncContextManager[Engine]:
        """Open it in this process. Raises as `open_whisper` does."""
        from cocoon_p2p.inference.whisper import open_whisper

        return open_whisper(
            self.model,
            name=self.name,
            slots=self.slots,
            context_tokens=self.context_tokens,
            threads=self.threads,
            expected_weights_hash=self.expected_weights_hash,
            memory=memory,
            progress=progress,
        )


Opening = LlamaCppOpening | ExllamaOpening | WhisperOpening


def encode_opening(opening: msgspec.Struct) -> bytes:
    """Write an opening down, for another process of this machine."""
    return msgspec.msgpack.encode(opening, enc_hook=str)


def decode_opening(data: bytes) -> Opening:
    """Read what `encode_opening` wrote."""
    return _OPENINGS.decode(data)


def _path(kind: type, value: Any) -> Path:
    assert issubclass(kind, Path)
    return Path(value)


_OPENINGS: msgspec.msgpack.Decoder[Opening] = msgspec.msgpack.Decoder(Opening, dec_hook=_path)
