"""The demo model on a processor, behind the surface that ExLlamaV2's generator touches.

The forward pass is Llama's (Touvron et al., 2023), in torch, over a cache in pages; everything above it is
the library's own code.
"""

import importlib
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn import functional

PAGE_TOKENS = 256


class CpuCache:
    """Keys and values of every layer, in pages that are laid out one after the other."""

    def __init__(self, config: Any, tokens: int) -> None:
        shape = (1, tokens, config.num_key_value_heads, config.head_dim)
        self.max_seq_len, self.batch_size, self.current_seq_len = tokens, 1, 0
        self.keys = [torch.zeros(shape) for _ in range(config.num_hidden_layers)]
        self.values = [torch.zeros(shape) for _ in range(config.num_hidden_layers)]

    def all_tensors(self) -> list[torch.Tensor]:
        return [*self.keys, *self.values]


class CpuModel:
    """Llama. `fail_next` makes the next steps fail by `failure`, as a card does that lost its power."""

    def __init__(self, config: Any, folder: Path) -> None:
        self.config = config
        # Where adapters are hung up: the library's own modules, with nothing loaded into them.
        skeleton = importlib.import_module("exllamav2").ExLlamaV2(config)
        for module in skeleton.modules:
            module.set_device_idx(-1)
        self.modules_dict = skeleton.modules_dict
        self.fail_next = 0
        self.failure: Exception = RuntimeError("CUDA error: an illegal memory access was encountered")
        self.steps = self.tokens = 0
        self.longest = self.widest = 0
        "The most tokens of one sequence, and the most sequences of one step."

        self._weights = {name: each.float() for name, each in load_file(folder / "model.safetensors").items()}
        frequencies = torch.arange(0, config.head_dim, 2).float() / config.head_dim
        self._frequencies = config.rotary_embedding_base**-frequencies

    def update_loras(self) -> None:
        """Adapters are read where they hang."""

    @torch.inference_mode()
    def forward_chunk(
        self,
        input_ids: torch.Tensor,
        preprocess_only: bool = False,
        attn_params: Any = None,
        cache: Any = None,
        loras: Any = None,
        **_unused: Any,
    ) -> dict[str, torch.Tensor]:
        self.steps += 1
        self.tokens += input_ids.numel()
        self._loras = loras or []
        if self.fail_next:
            self.fail_next -= 1
            raise self.failure
        places, past = _places(attn_params, cache, input_ids.shape[1])
        self.longest = max(self.longest, int(past.max()) + input_ids.shape[1])
        self.widest = max(self.widest, input_ids.shape[0])
        hidden = self._weights["model.embed_tokens.weight"][input_ids]
        for layer in range(self.config.num_hidden_layers):
            hidden = self._layer(layer, hidden, cache, places, past)
        hidden = self._norm(hidden, "model.norm.weight")
        logits = hidden @ self._weights["lm_head.weight"].T
        padding = -self.config.vocab_size % 32
        return {"logits": functional.pad(logits, (0, padding), value=-1e30)}

    def _layer(
        self, layer: int, hidden: torch.Tensor, cache: CpuCache, places: torch.Tensor, past: torch.Tensor
    ) -> torch.Tensor:
        name = f"model.layers.{layer}"
        normed = self._norm(hidden, f"{name}.input_layernorm.weight")
        hidden = hidden + self._attention(name, layer, normed, cache, places, past)
        normed = self._norm(hidden, f"{name}.post_attention_layernorm.weight")
        gate = functional.silu(self._linear(f"{name}.mlp.gate_proj", normed))
        up = self._linear(f"{name}.mlp.up_proj", normed)
        return hidden + self._linear(f"{name}.mlp.down_proj", gate * up)

    def _linear(self, name: str, values: torch.Tensor) -> torch.Tensor:
        out = values @ self._weights[f"{name}.weight"].T
        module = self.modules_dict[name]
        for lora in self._loras:
            if lora in module.lora_a_tensors:
                a, b = module.lora_a_tensors[lora].float(), module.lora_b_tensors[lora].float()
                out = out + values @ a @ b
        return out

    def _attention(
        self,
        name: str,
        layer: int,
        normed: torch.Tensor,
        cache: CpuCache,
        places: torch.Tensor,
        past: torch.Tensor,
    ) -> torch.Tensor:
        batch, length, _ = normed.shape
        heads = {
            part: self._linear(f"{name}.self_attn.{part}_proj", normed).view(
                batch, length, -1, self.config.head_dim
            )
            for part in "qkv"
        }
        positions = past[:, None] + torch.arange(length)[None]
        query, key = self._turn(heads["q"], positions), self._turn(heads["k"], positions)
        written = places.gather(1, positions)
        cache.keys[layer][0, written] = key
        cache.values[layer][0, written] = heads["v"]
        keys, values = cache.keys[layer][0, places], cache.values[layer][0, places]
        seen = torch.arange(places.shape[1])[None, None] <= positions[:, :, None]
        mixed = functional.scaled_dot_product_attention(
            query.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2),
            attn_mask=seen[:, None], scale=1 / math.sqrt(self.config.head_dim), enable_gqa=True,
        )  # fmt: skip
        flat = mixed.transpose(1, 2).reshape(batch, length, -1)
        return self._linear(f"{name}.self_attn.o_proj", flat)

    def _norm(self, hidden: torch.Tensor, name: str) -> torch.Tensor:
        scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.config.norm_eps)
        return hidden * scale * self._weights[name]

    def _turn(self, heads: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        angles = positions[..., None].float() * self._frequencies
        cosine, sine = angles.cos()[:, :, None], angles.sin()[:, :, None]
        first, second = heads.chunk(2, -1)
        return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)


def _places(attn_params: Any, cache: Any, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Where in the cache each position of each sequence lies, and how many positions are there already."""
    if not attn_params.paged if hasattr(attn_params, "paged") else not hasattr(attn_params, "block_index"):
        past = torch.tensor([attn_params.past_len])
        return torch.arange(attn_params.past_len + length)[None], past
    past = attn_params.cache_seqlens.long()
    positions = torch.arange(int(past.max()) + length)
    pages = attn_params.block_index.long()
    number = (positions // PAGE_TOKENS).clamp(max=pages.shape[1] - 1)
    return pages[:, number] * PAGE_TOKENS + positions % PAGE_TOKENS, past
