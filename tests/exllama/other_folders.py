"""Models and adapters that are made of the demo model."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

HIDDEN = 256


def write_shaken(model: Path, folder: Path, *, noise: float) -> Path:
    """Write the model anew, with noise in its weights: it guesses like the model, and not always right."""
    shutil.copytree(model, folder)
    random = torch.Generator().manual_seed(1)
    weights = load_file(folder / "model.safetensors")
    shaken = {
        name: (each.float() + noise * each.float().std() * torch.randn(each.shape, generator=random)).half()
        for name, each in weights.items()
    }
    save_file(shaken, folder / "model.safetensors")
    return folder


def write_adapter(
    folder: Path, *, scale: float, rank: int = 4, hidden: int = HIDDEN, **config: object
) -> Path:
    """Write an adapter of random numbers for the first layer's queries."""
    folder.mkdir()
    random = torch.Generator().manual_seed(2)
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {
        f"{name}.lora_A.weight": torch.randn(rank, hidden, generator=random),
        f"{name}.lora_B.weight": torch.randn(hidden, rank, generator=random),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    said = {"peft_type": "LORA", "r": rank, "lora_alpha": scale * rank, **config}
    (folder / "adapter_config.json").write_text(json.dumps(said), encoding="utf-8")
    return folder
