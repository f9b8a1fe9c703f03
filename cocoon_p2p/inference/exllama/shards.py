"""Whether a model's safetensors are whole: their headers say what must be in them.

Spec: safetensors' format (eight bytes of length, JSON, tensors), transformers' model.safetensors.index.json.
"""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from cocoon_p2p.errors import ConfigurationError

HEADER_MAX_BYTES: Final = 100_000_000
"The format's own limit."

FLOAT8: Final = frozenset({"F8_E4M3", "F8_E5M2", "F8_E4M3FN"})

_AGAIN: Final = "download it again from the model's publisher; `cocoon model hash` compares two copies"


class Tensor(msgspec.Struct, frozen=True):
    dtype: str
    data_offsets: tuple[int, int]


class Index(msgspec.Struct, frozen=True):
    weight_map: dict[str, str]


def read_shard(file: Path) -> Mapping[str, Tensor]:
    """Read what tensors a file has, and see that it has all of their bytes. Blocks.

    Raises:
        ConfigurationError: It is truncated, or no safetensors.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > min(HEADER_MAX_BYTES, size - 8):
                raise ConfigurationError(
                    f"{file} is truncated, or no safetensors (size={size} bytes)", hint=_AGAIN
                )
            entries = msgspec.json.decode(stream.read(length), type=dict[str, msgspec.Raw])
        entries.pop("__metadata__", None)
        tensors = {name: msgspec.json.decode(entry, type=Tensor) for name, entry in entries.items()}
    except OSError as exc:
        raise ConfigurationError(f"cannot read {file}: {exc.strerror}") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError, struct.error) as exc:
        raise ConfigurationError(f"{file} is no safetensors: {exc}", hint=_AGAIN) from exc
    needed = 8 + length + max((each.data_offsets[1] for each in tensors.values()), default=0)
    if size != needed:
        raise ConfigurationError(f"{file} is truncated (size={size} of {needed} bytes)", hint=_AGAIN)
    return tensors


def read_shards(folder: Path) -> Mapping[str, Tensor]:
    """Read what tensors a folder has, and see that none is missing of those that its index names. Blocks.

    Raises:
        ConfigurationError: A shard is missing, truncated, another model's, or has numbers of 8 bits.
    """
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    found = {file.name: read_shard(file) for file in files}
    if index.is_file():
        _compare(index, found)
    tensors = {name: tensor for shard in found.values() for name, tensor in shard.items()}
    if any(tensor.dtype in FLOAT8 for tensor in tensors.values()):
        raise ConfigurationError(
            f"exllamav2 computes no fp8 (path={folder})",
            hint="take EXL2, GPTQ or safetensors of 16 bits, or serve it by vLLM as an upstream",
        )
    return tensors


def _compare(index: Path, found: Mapping[str, Mapping[str, Tensor]]) -> None:
    try:
        named = msgspec.json.decode(index.read_bytes(), type=Index).weight_map
    except msgspec.MsgspecError as exc:
        raise ConfigurationError(f"{index} is not what its name says: {exc}", hint=_AGAIN) from exc
    missing = sorted(set(named.values()) - set(found))
    if missing:
        raise ConfigurationError(
            f"parts of the model are missing (path={index.parent} missing={', '.join(missing[:8])})",
            hint="download the whole folder again",
        )
    for tensor, file in named.items():
        if tensor not in found[file]:
            raise ConfigurationError(
                f"{index.parent / file} is not the part that the model's index means (lacks={tensor})",
                hint=_AGAIN,
            )
