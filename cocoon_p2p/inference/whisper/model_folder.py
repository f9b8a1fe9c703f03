"""A Whisper model as a folder in CTranslate2's form: what its small files say, before the large one loads.

    model.bin       weights and shape; begins with a version and the name of the architecture
    config.json     which tokens are never sampled
    tokenizer.json  Hugging Face's tokenizers
    vocabulary.json or vocabulary.txt

Made by `ct2-transformers-converter --copy_files tokenizer.json`; many are published ready.
"""

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.manifest import SPEECH_WEIGHTS
from cocoon_p2p.inference.whisper.vocabulary import Vocabulary

TOKENIZER_FILE: Final = "tokenizer.json"
TOKENIZER_MAX_BYTES: Final = 64 << 20

_ARCHITECTURE: Final = b"WhisperSpec"
_PUBLISHED: Final = "take a Whisper model in CTranslate2's form, such as Systran/faster-whisper-small"


@dataclass(frozen=True, slots=True)
class SpeechFolder:
    path: Path
    vocabulary: Vocabulary
    tokenizer_hash: bytes
    "As of any model in a folder (inference/engines.md): over tokenizer.json, and no chat template."


def read_folder(path: Path) -> SpeechFolder:
    """Read what is small. Blocks.

    Raises:
        ConfigurationError: A file is missing, or is not what its name says.
    """
    tokenizer = path / TOKENIZER_FILE
    vocabularies = [file for file in (path / "vocabulary.json", path / "vocabulary.txt") if file.is_file()]
    missing = [
        file.name for file in (path / SPEECH_WEIGHTS, path / "config.json", tokenizer) if not file.is_file()
    ]
    if missing or not vocabularies:
        names = ", ".join([*missing, *([] if vocabularies else ["vocabulary.json"])])
        raise ConfigurationError(f"the speech model lacks {names} (path={path})", hint=_PUBLISHED)
    try:
        with (path / SPEECH_WEIGHTS).open("rb") as stream:
            architecture = _architecture(stream.read(256))
        if tokenizer.stat().st_size > TOKENIZER_MAX_BYTES:
            raise ConfigurationError(f"{tokenizer} is too large (limit={TOKENIZER_MAX_BYTES} bytes)")
        digest = hashlib.sha256(tokenizer.read_bytes()).digest() + hashlib.sha256(b"").digest()
    except OSError as exc:
        raise ConfigurationError(
            f"cannot read the speech model: {exc.strerror} (path={exc.filename})"
        ) from exc
    if architecture != _ARCHITECTURE:
        raise ConfigurationError(
            f"not a Whisper model (architecture={architecture.decode('ascii', 'replace')!r} path={path})",
            hint=_PUBLISHED,
        )
    tokenizer_hash = hashlib.sha256(b"cocoon/tokenizer-folder/1\0" + digest).digest()
    return SpeechFolder(path, Vocabulary(tokenizer), tokenizer_hash)


def _architecture(head: bytes) -> bytes:
    """Read the name that CTranslate2's file begins with: after a version, its length and its text."""
    if len(head) < 6:
        return b""
    (length,) = struct.unpack_from("<H", head, 4)
    return head[6 : 6 + length].rstrip(b"\0")
