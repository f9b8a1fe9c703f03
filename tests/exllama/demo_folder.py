"""The demo model as a folder of Hugging Face's, made of the GGUF file that comes along.

One file in the repository serves both engines. Its weights are those of the GGUF file, 8 bits each, unpacked.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from cocoon_p2p.inference.catalogue import demo_model

PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
ENDS = {"token_embd": "embed_tokens", "output_norm": "norm"}


def write_demo_folder(folder: Path) -> Path:
    """Write the demo model into `folder`; gives it back."""
    reader = GGUFReader(demo_model())
    said = {name: field.contents() for name, field in reader.fields.items()}
    heads = int(said["llama.attention.head_count"])
    key_heads = int(said["llama.attention.head_count_kv"])
    weights = {
        _name(each.name): _weight(each, heads, key_heads).astype(np.float16) for each in reader.tensors
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors")
    _tokenizer(said).save(str(folder / "tokenizer.json"))
    _write(folder / "config.json", _config(said, heads, key_heads))
    _write(folder / "generation_config.json", {"eos_token_id": [said["tokenizer.ggml.eos_token_id"]]})
    tokens = said["tokenizer.ggml.tokens"]
    named = {
        "bos_token": tokens[said["tokenizer.ggml.bos_token_id"]],
        "eos_token": tokens[said["tokenizer.ggml.eos_token_id"]],
        "chat_template": said["tokenizer.chat_template"],
        "add_bos_token": False,
    }
    _write(folder / "tokenizer_config.json", named)
    return folder


def _name(name: str) -> str:
    if name == "output.weight":
        return "lm_head.weight"
    head, _, kind = name.rpartition(".")
    if head in ENDS:
        return f"model.{ENDS[head]}.{kind}"
    _, layer, part = head.split(".")
    return f"model.layers.{layer}.{PARTS[part]}.{kind}"


def _weight(tensor: Any, heads: int, key_heads: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
    values = dequantize(tensor.data, tensor.tensor_type)
    if "attn_q." in tensor.name:
        return _unturned(values, heads)
    return _unturned(values, key_heads) if "attn_k." in tensor.name else values


def _unturned(values: Any, heads: int) -> Any:
    """GGUF has the two halves that rotary embedding turns side by side, Hugging Face one after the other."""
    rows, columns = values.shape
    pairs = values.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, columns))


def _tokenizer(said: dict[str, Any]) -> Tokenizer:
    tokens = said["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in said["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(
        models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=merges)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = 3
    kinds = said["tokenizer.ggml.token_type"]
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == control]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def _config(said: dict[str, Any], heads: int, key_heads: int) -> dict[str, object]:
    hidden = int(said["llama.embedding_length"])
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(said["tokenizer.ggml.tokens"]),
        "hidden_size": hidden,
        "intermediate_size": said["llama.feed_forward_length"],
        "num_hidden_layers": said["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "head_dim": hidden // heads,
        "max_position_embeddings": said["llama.context_length"],
        "rms_norm_eps": said["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": said["llama.rope.freq_base"],
        "tie_word_embeddings": False,
        "bos_token_id": said["tokenizer.ggml.bos_token_id"],
        "eos_token_id": said["tokenizer.ggml.eos_token_id"],
        "torch_dtype": "float16",
    }


def _write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value), encoding="utf-8")
