"""Write a trained folder as the GGUF file that the package carries: `python export_gguf.py FOLDER FILE`.

Needs gguf, safetensors and numpy. Equal folders give equal files.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

NAME = "cocoon-demo"
DESCRIPTION = "The demo model of cocoon-p2p: for trying the network, not for knowing things."
LICENSE = "Apache-2.0"

LAYER_TENSORS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OTHER_TENSORS = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
QUANTIZATION = gguf.GGMLQuantizationType.Q8_0

Json = Mapping[str, Any]
"A file that Hugging Face's tools wrote."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    config: Json = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(arguments.file, "llama")
    add_shape(writer, config)
    add_tokenizer(writer, config, json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")))
    writer.add_chat_template((folder / "chat_template.jinja").read_text(encoding="utf-8"))
    add_tensors(writer, config, load_file(folder / "model.safetensors"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_shape(writer: gguf.GGUFWriter, config: Json) -> None:
    writer.add_name(NAME)
    writer.add_description(DESCRIPTION)
    writer.add_license(LICENSE)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)


def add_tokenizer(writer: gguf.GGUFWriter, config: Json, tokenizer: Json) -> None:
    names = {number: text for text, number in tokenizer["model"]["vocab"].items()}
    added = {token["id"]: token for token in tokenizer["added_tokens"]}
    texts, types = list[str](), list[gguf.TokenType]()
    for number in range(config["vocab_size"]):
        texts.append(added[number]["content"] if number in added else names[number])
        types.append(gguf.TokenType.CONTROL if number in added else gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("gpt2")
    # Of llama.cpp's ways to cut text before merging, the one that splits digits as ours does.
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(texts)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)


def add_tensors(writer: gguf.GGUFWriter, config: Json, tensors: Mapping[str, NDArray[np.float16]]) -> None:
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, half in tensors.items():
        tensor = half.astype(np.float32)
        if name in OTHER_TENSORS:
            target = OTHER_TENSORS[name]
        else:
            _, _, layer, *rest, _ = name.split(".")
            target = f"blk.{layer}.{LAYER_TENSORS['.'.join(rest)]}.weight"
            if rest[-1] in heads:
                tensor = interleaved(tensor, heads[rest[-1]])
        if tensor.ndim == 1:
            writer.add_tensor(target, tensor)
        else:
            writer.add_tensor(target, gguf.quants.quantize(tensor, QUANTIZATION), raw_dtype=QUANTIZATION)


def interleaved(tensor: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Order rows as llama.cpp rotates them: neighbours in pairs, where Hugging Face pairs two halves."""
    half = tensor.shape[0] // heads // 2
    return tensor.reshape(heads, 2, half, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)


if __name__ == "__main__":
    main()
