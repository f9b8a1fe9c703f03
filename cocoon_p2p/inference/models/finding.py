"""What a worker's `model = ` means: the demo model, a name, or a path.

    "demo"                      the demo model that comes along
    "qwen3-0.6b-q8_0"           a name: a model that was pulled
    "models/mine.gguf"          a path, relative to the file: it has a slash, or ends in .gguf

A folder beside the file is written `./mine`. What was pulled is served under the name by which it was
found, and only as the very bytes that came.
"""

import difflib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.catalogue import DEMO_NAME, DEMO_WEIGHTS_HASH, demo_model
from cocoon_p2p.inference.models.catalogue import Catalogue
from cocoon_p2p.inference.models.folder import ModelFolder, is_model_name

DEMO: Final = "demo"


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model for an engine to load."""

    path: Path
    name: str | None = None
    "What to serve it as; None: as the file calls itself."

    weights_hash: bytes | None = None
    "The only bytes that will do; None: any."

    has_chat: bool = True
    "Whether chats go by the template that its files bring; else it completes text."

    folder: ModelFolder | None = None

    def held(self, who: str) -> AbstractContextManager[None]:
        """Keep its files from being removed while the block runs; see `ModelFolder.use`."""
        if self.folder is None or self.name is None:
            return nullcontext()
        return self.folder.use(self.name, who)


def find_model(text: str, *, beside: Path, folder: ModelFolder, catalogue: Catalogue) -> FoundModel:
    """Find the model that a worker's file names. Blocks, for little.

    Args:
        text: As it was written.
        beside: The folder in which relative paths begin.
        folder: Where pulled models lie.
        catalogue: What names mean.

    Raises:
        ConfigurationError: It is a name of nothing here, or of other bytes than the catalogue's.
    """
    if text in (DEMO, DEMO_NAME):
        return FoundModel(demo_model(), weights_hash=DEMO_WEIGHTS_HASH)
    if not is_model_name(text):
        return FoundModel((beside / Path(text).expanduser()).resolve())
    entry = folder.find(text)
    if entry is None:
        raise _missing(text, beside, folder, catalogue)
    catalogue.check(text, entry.weights_hash)
    return FoundModel(
        folder.main_path(entry), text, entry.weights_hash, has_chat=entry.template == "own", folder=folder
    )


def _missing(text: str, beside: Path, folder: ModelFolder, catalogue: Catalogue) -> ConfigurationError:
    if catalogue.find(text) is not None:
        return ConfigurationError(
            f"the model is not on this machine yet (model={text})", hint=f"cocoon model pull {text}"
        )
    kept = {one.name: one for one in folder}
    if text in kept:
        return ConfigurationError(
            f"the model is {kept[text].trouble} (model={text})", hint="run its `cocoon model pull` again"
        )
    if (beside / text).exists():
        return ConfigurationError(
            f"a name, not a path: {text!r}", hint=f"for what lies beside the file write ./{text}"
        )
    names = [*kept, *(entry.name for entry in catalogue)]
    close = difflib.get_close_matches(text, names, n=1)
    return ConfigurationError(
        f"no model of that name (model={text} folder={folder.path})",
        hint=f"did you mean {close[0]}?"
        if close
        else "cocoon model list shows those that are here; a path has a slash",
    )
