"""A folder of Hugging Face's with random weights: as slow as a real model of its size, nothing to download.

The llama shape, in 16 bits. torch, safetensors and tokenizers are found only where ExLlamaV2 is.
"""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTEXT_TOKENS = 4096
HEAD = 64


@dataclass(frozen=True)
class Shape:
    """Multiples of 256, with which ExLlamaV2's kernels can do."""

    hidden: int
    intermediate: int
    layers: int
    vocabulary: int

    @property
    def parameters(self) -> int:
        matrices = 4 * self.hidden * self.hidden + 3 * self.hidden * self.intermediate
        return 2 * self.vocabulary * self.hidden + self.layers * matrices


CARD = Shape(hidden=2048, intermediate=5632, layers=22, vocabulary=32_000)
"A card's: 1.1 thousand million parameters, 2.3 GB."

PROCESSOR = Shape(hidden=256, intermediate=768, layers=4, vocabulary=1024)
"Only to try the script by."


def write_random_folder(folder: Path, shape: Shape) -> None:
    """Write the model. Equal for every call."""
    folder.mkdir(parents=True)
    save: Any = importlib.import_module("safetensors.torch").save_file
    save(_weights(shape), folder / "model.safetensors")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.hidden // HEAD,
        "num_key_value_heads": shape.hidden // HEAD,
        "head_dim": HEAD,
        "max_position_embeddings": CONTEXT_TOKENS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": False}))
    _write_tokenizer(folder / "tokenizer.json", shape.vocabulary)


def _weights(shape: Shape) -> dict[str, Any]:
    torch: Any = importlib.import_module("torch")
    random = torch.Generator().manual_seed(0)

    def matrix(rows: int, columns: int) -> Any:
        return (torch.randn(rows, columns, generator=random) * 0.02).half()

    square, ones = (shape.hidden, shape.hidden), torch.ones(shape.hidden).half()
    weights = {
        "model.embed_tokens.weight": matrix(shape.vocabulary, shape.hidden),
        "lm_head.weight": matrix(shape.vocabulary, shape.hidden),
        "model.norm.weight": ones,
    }
    for layer in range(shape.layers):
        name = f"model.layers.{layer}"
        weights |= {f"{name}.self_attn.{part}_proj.weight": matrix(*square) for part in "qkvo"}
        weights |= {
            f"{name}.mlp.{part}_proj.weight": matrix(shape.intermediate, shape.hidden)
            for part in ("gate", "up")
        }
        weights[f"{name}.mlp.down_proj.weight"] = matrix(shape.hidden, shape.intermediate)
        weights[f"{name}.input_layernorm.weight"] = ones.clone()
        weights[f"{name}.post_attention_layernorm.weight"] = ones.clone()
    return weights


def _write_tokenizer(file: Path, vocabulary: int) -> None:
    """Write one token for each byte, and words for the rest."""
    tokenizers: Any = importlib.import_module("tokenizers")
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    texts = ["<end>", *letters, *(f"w{number}" for number in range(vocabulary - 1 - len(letters)))]
    model = tokenizers.models.BPE(vocab={text: number for number, text in enumerate(texts)}, merges=[])
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(file))
