"""A LoRA adapter as a folder: what PEFT writes, as far as ExLlamaV2 computes it.

The library passes over what it does not know; such an adapter would be another one. It is refused here.
Spec: PEFT's adapter_config.json.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.exllama.model_folder import read_json
from cocoon_p2p.inference.exllama.shards import read_shard


class AdapterConfig(msgspec.Struct, frozen=True):
    r: int
    lora_alpha: float
    peft_type: str = "LORA"
    fan_in_fan_out: bool = False
    use_dora: bool = False
    rank_pattern: dict[str, Any] | None = None  # Only whether there is one matters.
    alpha_pattern: dict[str, Any] | None = None  # As above.
    modules_to_save: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Adapter:
    """Its files."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "adapter_config.json"

    @property
    def weights(self) -> Path:
        return self.path / "adapter_model.safetensors"

    @property
    def name(self) -> str:
        """The folder's."""
        return self.path.resolve().name.lower()


def read_adapter(path: Path) -> Adapter:
    """Read what is small. Blocks.

    Raises:
        ConfigurationError: It is no adapter, one of a kind that the library does not compute, or not whole.
    """
    adapter = Adapter(path)
    if not path.is_dir():
        raise ConfigurationError(f"there is no folder {path}", hint="check the path of the adapter")
    if not adapter.weights.is_file():
        raise ConfigurationError(
            f"the adapter lacks {adapter.weights.name} (path={path})",
            hint="take one published as safetensors; a .bin may run what it likes, and is not read",
        )
    config = read_json(adapter.config, AdapterConfig)
    unknown = {
        "another kind than LoRA": config.peft_type.upper() != "LORA",
        "fan_in_fan_out": config.fan_in_fan_out,
        "DoRA": config.use_dora,
        "a rank_pattern": bool(config.rank_pattern),
        "an alpha_pattern": bool(config.alpha_pattern),
        "modules_to_save": bool(config.modules_to_save),
        "no rank": config.r < 1,
    }
    if found := [name for name, is_so in unknown.items() if is_so]:
        raise ConfigurationError(
            f"exllamav2 cannot compute this adapter: it has {', '.join(found)} (path={path})",
            hint="merge it into its model, and serve that",
        )
    read_shard(adapter.weights)
    return adapter
