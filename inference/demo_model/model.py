"""A small Llama in PyTorch, with the tensor names of Hugging Face's, so that every engine can load it.

Shapes that all of them take: heads of 64, hidden and intermediate sizes that are multiples
of 256, a vocabulary that is a multiple of 32, an output head of its own.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Shape:
    vocabulary: int = 1536
    hidden: int = 256
    intermediate: int = 768
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    head: int = 64
    norm_epsilon: float = 1e-5
    rope_theta: float = 10_000.0
    context_tokens: int = 2048

    def config(self) -> dict[str, object]:
        """What stands in `config.json`."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "head_dim": self.head,
            "max_position_embeddings": self.context_tokens,
            "rms_norm_eps": self.norm_epsilon,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": False,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "pad_token_id": 0,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "torch_dtype": "float16",
        }


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


class Block(nn.Module):
    """One layer: grouped-query attention with rotary positions, then a gated feed-forward."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        queries, keys = shape.heads * shape.head, shape.key_value_heads * shape.head
        self.self_attn = nn.ModuleDict(
            {
                "q_proj": _linear(shape.hidden, queries),
                "k_proj": _linear(shape.hidden, keys),
                "v_proj": _linear(shape.hidden, keys),
                "o_proj": _linear(queries, shape.hidden),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": _linear(shape.hidden, shape.intermediate),
                "up_proj": _linear(shape.hidden, shape.intermediate),
                "down_proj": _linear(shape.intermediate, shape.hidden),
            }
        )
        self.input_layernorm = nn.RMSNorm(shape.hidden, shape.norm_epsilon)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden, shape.norm_epsilon)

    def forward(self, stream: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        stream = stream + self._attend(self.input_layernorm(stream), cosine, sine)
        normed = self.post_attention_layernorm(stream)
        gated = functional.silu(self.mlp["gate_proj"](normed)) * self.mlp["up_proj"](normed)
        result: Tensor = stream + self.mlp["down_proj"](gated)
        return result

    def _attend(self, normed: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        batch, length, _ = normed.shape
        query = self._heads(normed, "q_proj", self.shape.heads)
        key = self._heads(normed, "k_proj", self.shape.key_value_heads)
        value = self._heads(normed, "v_proj", self.shape.key_value_heads)
        group = self.shape.heads // self.shape.key_value_heads
        # Written out, because torch's own attention takes twice as long on a processor at these lengths.
        keys = _rotate(key, cosine, sine).repeat_interleave(group, 1)
        scores = _rotate(query, cosine, sine) @ keys.transpose(-1, -2) / math.sqrt(self.shape.head)
        future = torch.full((length, length), -torch.inf, dtype=scores.dtype).triu(1)
        attended = torch.softmax(scores + future, -1).to(value.dtype) @ value.repeat_interleave(group, 1)
        result: Tensor = self.self_attn["o_proj"](attended.transpose(1, 2).reshape(batch, length, -1))
        return result

    def _heads(self, normed: Tensor, projection: str, heads: int) -> Tensor:
        batch, length, _ = normed.shape
        projected: Tensor = self.self_attn[projection](normed)
        return projected.view(batch, length, heads, self.shape.head).transpose(1, 2)


def _rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = heads.unflatten(-1, (2, -1)).unbind(-2)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)


class Llama(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, shape.norm_epsilon)
        self.lm_head = _linear(shape.hidden, shape.vocabulary)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                # What adds to the stream starts smaller the more layers add to it.
                depth = math.sqrt(2 * shape.layers) if "o_proj" in name or "down_proj" in name else 1
                nn.init.normal_(weight, 0, 0.02 / depth)

    def forward(self, tokens: Tensor) -> Tensor:
        """Give what the output head reads at each place: batch, length, hidden."""
        positions = torch.arange(tokens.shape[1]).float()
        frequencies = self.shape.rope_theta ** (
            -torch.arange(0, self.shape.head, 2).float() / self.shape.head
        )
        angles = torch.outer(positions, frequencies)
        stream: Tensor = self.embed_tokens(tokens)
        kind = torch.bfloat16 if torch.is_autocast_enabled("cpu") else stream.dtype
        cosine, sine = angles.cos().to(kind), angles.sin().to(kind)
        for block in self.layers:
            stream = block(stream, cosine, sine)
        normed: Tensor = self.norm(stream)
        return normed
