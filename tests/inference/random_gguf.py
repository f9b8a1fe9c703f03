"""Small models with random weights, of shapes that the demo model has not, and nothing to download."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final

Value = str | int | float | bool | Sequence[str] | Sequence[int]

HIDDEN: Final = 64
CONTEXT_TOKENS: Final = 512
END: Final = 256
CONTROL: Final = 257
_ALIGNMENT: Final = 32
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9


def write_chat_model(
    file: Path, template: str, *, control: str = "<unused>", pooling: int | None = None
) -> None:
    """Write a llama model with a token for each byte and this chat template: it says anything at all.

    Args:
        file: Where to.
        template: In Jinja.
        control: The text of one more control token, `CONTROL`.
        pooling: Makes an embedding model of it.
    """
    tokens = [*_byte_tokens(), "<end>", control, *(f"<unused {number}>" for number in range(258, 288))]
    metadata: dict[str, Value] = {
        "general.architecture": "llama",
        "general.name": "random",
        **_sizes("llama"),
        "llama.attention.head_count_kv": 1,
        "llama.vocab_size": len(tokens),
        "llama.rope.dimension_count": HIDDEN,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.token_type": [1] * 256 + [3] * (len(tokens) - 256),
        "tokenizer.ggml.eos_token_id": END,
        "tokenizer.ggml.bos_token_id": END,
        "tokenizer.chat_template": template,
        **({} if pooling is None else {"llama.pooling_type": pooling}),
    }
    matrices = {
        **{f"blk.0.attn_{name}.weight": (HIDDEN, HIDDEN) for name in ("q", "k", "v", "output")},
        **{f"blk.0.ffn_{name}.weight": (HIDDEN, 2 * HIDDEN) for name in ("gate", "up")},
        "blk.0.ffn_down.weight": (2 * HIDDEN, HIDDEN),
        "token_embd.weight": (HIDDEN, len(tokens)),
        "output.weight": (HIDDEN, len(tokens)),
    }
    norms = ("output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight")
    _write(file, metadata, {**matrices, **dict.fromkeys(norms, (HIDDEN,))})


def write_embedding_model(file: Path, *, pooling: int = 1) -> None:
    """Write a BERT model that knows a few words."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁hello", "▁good", "▁world", "▁bye", "▁a", "▁the"]
    metadata: dict[str, Value] = {
        "general.architecture": "bert",
        "general.name": "random embedder",
        **_sizes("bert"),
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
        "bert.pooling_type": pooling,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.pre": "jina-v2-en",
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.token_type": [3] * 5 + [1] * (len(words) - 5),
        "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.cls_token_id": 2,
        "tokenizer.ggml.eos_token_id": 3,
        "tokenizer.ggml.seperator_token_id": 3,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.mask_token_id": 4,
    }
    tensors: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (HIDDEN, len(words)),
        "token_types.weight": (HIDDEN, 2),
        "position_embd.weight": (HIDDEN, CONTEXT_TOKENS),
    }
    for name in ("q", "k", "v", "output"):
        tensors[f"blk.0.attn_{name}.weight"] = (HIDDEN, HIDDEN)
        tensors[f"blk.0.attn_{name}.bias"] = (HIDDEN,)
    for name, shape in (("up", (HIDDEN, 2 * HIDDEN)), ("down", (2 * HIDDEN, HIDDEN))):
        tensors[f"blk.0.ffn_{name}.weight"] = shape
        tensors[f"blk.0.ffn_{name}.bias"] = shape[1:]
    for name in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        tensors[f"{name}.weight"] = tensors[f"{name}.bias"] = (HIDDEN,)
    _write(file, metadata, tensors)


def _sizes(architecture: str) -> dict[str, Value]:
    return {
        f"{architecture}.context_length": CONTEXT_TOKENS,
        f"{architecture}.embedding_length": HIDDEN,
        f"{architecture}.block_count": 1,
        f"{architecture}.feed_forward_length": 2 * HIDDEN,
        f"{architecture}.attention.head_count": 1,
    }


def _write(file: Path, metadata: Mapping[str, Value], tensors: Mapping[str, tuple[int, ...]]) -> None:
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    head += b"".join(_string(key) + _value(value) for key, value in metadata.items())
    data, random = bytearray(), Random(0)
    for name, shape in tensors.items():
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data))
        count = 1
        for side in shape:
            count *= side
        is_norm = "norm" in name and name.endswith("weight")
        weights = [1.0 if is_norm else random.gauss(0, 0.2) for _ in range(count)]
        data += struct.pack(f"<{count}f", *weights) + bytes(-4 * count % _ALIGNMENT)
    file.write_bytes(head + bytes(-len(head) % _ALIGNMENT) + data)


def _value(value: Value) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", _BOOL, value)
        case int():
            return struct.pack("<II", _UINT32, value)
        case float():
            return struct.pack("<If", _FLOAT32, value)
        case str():
            return struct.pack("<I", _STRING) + _string(value)
        case _:
            is_text = isinstance(value[0], str)
            head = struct.pack("<IIQ", _ARRAY, _STRING if is_text else _INT32, len(value))
            return head + b"".join(
                _string(item) if isinstance(item, str) else struct.pack("<i", item) for item in value
            )


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _byte_tokens() -> list[str]:
    """GPT-2's spelling of the 256 bytes: printable ones as they are, others from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]
