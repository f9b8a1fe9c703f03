"""Write inference/vectors/weights.json: `python -m tests.inference.generate_vectors`.

A vector changes only together with the "1" in "cocoon/weights/1".
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cocoon_p2p.inference.manifest import manifest, manifest_hash

FILE = Path(__file__).parents[2] / "inference" / "vectors" / "weights.json"


@dataclass(frozen=True, slots=True)
class Model:
    """A model as it lies on a disk."""

    what: str
    path: str
    "Of the model, in the folder where the files lie; empty: the folder itself."

    files: tuple[tuple[str, str, bytes], ...]
    "Path, name in the manifest, content."

    not_hashed: tuple[str, ...] = ()


MODELS = (
    Model("one file", "Qwen3 0.6B (mine).gguf", (("Qwen3 0.6B (mine).gguf", "model", b"weights"),)),
    Model("an empty file", "m.gguf", (("m.gguf", "model", b""),)),
    Model(
        "a split file",
        "big-00001-of-00011.gguf",
        tuple(
            (f"big-{part:05}-of-00011.gguf", f"model-{part}", f"part {part}".encode())
            for part in range(1, 12)
        ),
    ),
    Model(
        "a folder",
        "",
        (
            ("model-00002-of-00002.safetensors", "model-00002-of-00002.safetensors", b"two"),
            ("model-00001-of-00002.safetensors", "model-00001-of-00002.safetensors", b"one"),
            ("config.json", "config.json", b"{}"),
            ("Zebra.json", "Zebra.json", b"capitals come first"),
            ("größe.json", "größe.json", b"then bytes above ASCII"),
            ("chat_template.jinja", "chat_template.jinja", b"{{ messages }}"),
            ("tokenizer.model", "tokenizer.model", b"pieces"),
        ),
        not_hashed=("README.md", ".gitattributes", "weights.gguf", "model.safetensors.part"),
    ),
    Model(
        "a speech model",
        "",
        (
            ("config.json", "config.json", b"{}"),
            ("model.bin", "model.bin", b"weights"),
            ("tokenizer.json", "tokenizer.json", b"{}"),
            ("vocabulary.txt", "vocabulary.txt", b"words"),
        ),
        not_hashed=("README.md", "notes.txt", "pytorch_model.bin"),
    ),
)


def _spell(model: Model) -> dict[str, Any]:
    files = [(name, sha256(content).digest(), len(content)) for _, name, content in model.files]
    return {
        "what": model.what,
        "model": model.path,
        "files": [
            {"path": path, "name": name, "content": content.hex()} for path, name, content in model.files
        ],
        "not_hashed": list(model.not_hashed),
        "manifest": manifest(files).decode(),
        "weights_hash": manifest_hash(files).hex(),
    }


def text() -> str:
    """Give what the vector file must say."""
    vectors = {
        "about": "Models, their manifests and weights hashes. Spec: inference/engines.md.",
        "vectors": [_spell(model) for model in MODELS],
    }
    return json.dumps(vectors, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text())
