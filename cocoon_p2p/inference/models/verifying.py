"""Whether a model's files are still the bytes that were pulled."""

from collections.abc import Sequence
from pathlib import Path

import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.manifest import is_model_file
from cocoon_p2p.inference.models.catalogue import Catalogue
from cocoon_p2p.inference.models.entry import FileEntry, ModelEntry
from cocoon_p2p.inference.models.folder import ModelFolder
from cocoon_p2p.inference.models.pulling import hash_file


async def verify(entry: ModelEntry, folder: ModelFolder, catalogue: Catalogue) -> Sequence[str]:
    """Read all of a model's files again, and say what is wrong with which; nothing where all is well."""
    files = folder.files(entry.name)
    found = [await _verify_file(files / file.name, file) for file in entry.files]
    wrong = [line for line in found if line]
    if not entry.main_file:
        known = {file.name for file in entry.files}
        # It would count as the model's: another weights hash, another tokenizer perhaps.
        wrong += [
            f"{path.name} was not pulled (path={path})"
            for path in sorted(files.iterdir() if files.is_dir() else ())
            if is_model_file(path.name) and path.name not in known
        ]
    try:
        catalogue.check(entry.name, entry.weights_hash)
    except ConfigurationError as exc:
        wrong.append(str(exc))
    return wrong


async def _verify_file(path: Path, file: FileEntry) -> str:
    try:
        size = await trio.to_thread.run_sync(_size, path)
        if size != file.size_bytes:
            return f"{file.name} has another size (expected={file.size_bytes} found={size} bytes)"
        found = await trio.to_thread.run_sync(hash_file, path)
    except OSError as exc:
        return f"{file.name} cannot be read: {exc.strerror}"
    return (
        "" if found == file.sha256 else f"{file.name} has other bytes (expected={file.sha256} found={found})"
    )


def _size(path: Path) -> int:
    return path.stat().st_size
