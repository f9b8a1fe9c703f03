"""Models: what they are called, and the one that comes along. Which bytes they are: `manifest`."""

import re
from importlib import resources
from pathlib import Path
from typing import Final

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.gguf import GgufHead
from cocoon_p2p.protocols.ids import NAME_MAX_BYTES

DEMO_NAME: Final = "cocoon-demo"
DEMO_WEIGHTS_HASH: Final = bytes.fromhex("e9e3fe2610a2a4479ff6983ac6ac24c54b8d11be3b2e5b500df99024ed284efd")
"The demo model's weights hash: it is what makes an answer be shown as the demo model's."


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
