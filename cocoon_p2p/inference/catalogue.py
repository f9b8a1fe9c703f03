"""Models and their files: what a model is called, which bytes it is, and the one that comes along.

The canonical manifest of a model is one line for each of its files, in the order of their
names, `<SHA-256 in hex> <size in bytes> <name>\\n`. The weights hash is SHA-256 over
"cocoon/weights/1\\0" and the manifest. A file that is a model by itself is called `model`
there, whatever the owner called it, and the parts of a split one `model-1`, `model-2`:
who renames a download still serves the same model.

Spec: inference/engines.md.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Final

import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.gguf import GgufHead
from cocoon_p2p.protocols.ids import NAME_MAX_BYTES

DEMO_NAME: Final = "cocoon-demo"
DEMO_WEIGHTS_HASH: Final = bytes.fromhex("341bafeb4ede492667e6bcaa95a83c044b92c9446bbdfb0a4d7c59ba2ebe231f")
"The demo model's weights hash: it is what makes an answer be shown as the demo model's."

_SPLIT = re.compile(r"^(?P<stem>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf$")
_FOLDER_SUFFIXES: Final = (".safetensors", ".json", ".jinja", ".model")
"What decides how a model in a folder answers: weights, configuration, tokenizer, chat template."

_CHUNK_SIZE_BYTES: Final = 8 * 1024 * 1024
"Hashed between two looks at whether anybody still waits: some milliseconds."


def demo_model() -> Path:
    """Find the demo model, a GGUF file of 4 MB inside the package.

    Raises:
        ConfigurationError: The package was installed without its data, or as an archive.
    """
    file = resources.files("cocoon_p2p.inference") / "demo_model" / f"{DEMO_NAME}.gguf"
    if not isinstance(file, Path) or not file.is_file():
        raise ConfigurationError(
            f"the demo model is missing (path={file})",
            hint="install cocoon-p2p again, as a wheel or from its sources",
        )
    return file


def is_demo(weights: bytes) -> bool:
    """Whether a weights hash is that of the demo model that comes along."""
    return weights == DEMO_WEIGHTS_HASH


def model_name(head: GgufHead) -> str:
    """What to call a model if its owner does not say: its family and size, else its name, else its file's."""
    family = " ".join(filter(None, (head.text("general.basename"), head.text("general.size_label"))))
    named = (family if head.text("general.basename") else "") or head.text("general.name") or head.path.stem
    slug = re.sub(r"[^a-z0-9._]+", "-", named.lower()).strip("-.")
    return slug[:NAME_MAX_BYTES] or "model"


def model_files(model: Path) -> Mapping[str, Path]:
    """List a model's files under their names in its manifest. Blocks.

    Args:
        model: A GGUF file (of a split one, its first part), or a folder with weights and tokenizer.

    Raises:
        ConfigurationError: There is nothing, or a part is missing.
    """
    if model.is_dir():
        files = {file.name: file for file in sorted(model.iterdir()) if file.suffix in _FOLDER_SUFFIXES}
    elif split := _SPLIT.match(model.name):
        names = [
            f"{split['stem']}-{part:05}-of-{split['parts']}.gguf"
            for part in range(1, int(split["parts"]) + 1)
        ]
        files = {f"model-{part}": model.with_name(name) for part, name in enumerate(names, start=1)}
    else:
        files = {"model": model}
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing or not files:
        raise ConfigurationError(
            f"model files are missing (path={model} missing={', '.join(missing) or 'all'})",
            hint="check the path, and that every part was downloaded",
        )
    return files


async def weights_hash(model: Path) -> bytes:
    """Hash a model's files, in a thread. Some gigabytes take some seconds.

    Cancelled, the thread ends within some milliseconds.

    Raises:
        ConfigurationError: A file is missing or cannot be read.
    """

    def hash_files() -> bytes:
        try:
            return manifest_hash([(name, *_file_hash(file)) for name, file in model_files(model).items()])
        except OSError as exc:
            raise ConfigurationError(
                f"cannot read the model file: {exc.strerror} (path={exc.filename})",
                hint="check that this user may read it",
            ) from exc

    return await trio.to_thread.run_sync(hash_files)


def manifest_hash(files: Sequence[tuple[str, bytes, int]]) -> bytes:
    """Hash the canonical manifest of files given as name, SHA-256 and size in bytes."""
    lines = [f"{digest.hex()} {size} {name}\n" for name, digest, size in sorted(files)]
    return hashlib.sha256(b"cocoon/weights/1\0" + "".join(lines).encode()).digest()


def _file_hash(file: Path) -> tuple[bytes, int]:
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_SIZE_BYTES):
            trio.from_thread.check_cancelled()
            digest.update(chunk)
            size += len(chunk)
    return digest.digest(), size
