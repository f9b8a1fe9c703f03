"""A GGUF model with random weights: as slow as a real one of its size, and nothing to download.

The llama shape of 114 million parameters in q8_0, with one token for each byte.
"""

import struct
from pathlib import Path
from random import Random

HIDDEN, INTERMEDIATE, LAYERS, HEADS, KEY_VALUE_HEADS, HEAD = 1024, 2816, 10, 16, 4, 64
CONTEXT_TOKENS = 2048
VOCABULARY = 512
PARAMETERS = 2 * VOCABULARY * HIDDEN + LAYERS * (
    2 * HIDDEN * HEADS * HEAD + 2 * HIDDEN * KEY_VALUE_HEADS * HEAD + 3 * HIDDEN * INTERMEDIATE
)

ALIGNMENT = 32
F32, Q8_0 = 0, 8
BLOCK_WEIGHTS = 32
UINT32, FLOAT32, STRING, ARRAY, INT32 = 4, 6, 8, 9, 5


def write_random_model(file: Path) -> None:
    """Write the model: 120 MB. Equal for every call."""
    tensors = _tensors()
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(_metadata())) + b"".join(_metadata())
    offset = 0
    for name, shape, kind in tensors:
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        offset += _size(shape, kind)
    pattern = _random_blocks()
    with file.open("wb") as stream:
        stream.write(head + bytes(-len(head) % ALIGNMENT))
        for _, shape, kind in tensors:
            size = _size(shape, kind)
            data = struct.pack("<f", 1.0) * shape[0] if kind == F32 else pattern * (size // len(pattern) + 1)
            stream.write(data[:size])


def _tensors() -> list[tuple[str, tuple[int, ...], int]]:
    """Name, shape (innermost first) and kind of every tensor."""
    matrices = {
        "attn_q": (HIDDEN, HEADS * HEAD),
        "attn_k": (HIDDEN, KEY_VALUE_HEADS * HEAD),
        "attn_v": (HIDDEN, KEY_VALUE_HEADS * HEAD),
        "attn_output": (HEADS * HEAD, HIDDEN),
        "ffn_gate": (HIDDEN, INTERMEDIATE),
        "ffn_up": (HIDDEN, INTERMEDIATE),
        "ffn_down": (INTERMEDIATE, HIDDEN),
    }
    tensors: list[tuple[str, tuple[int, ...], int]] = [
        ("token_embd.weight", (HIDDEN, VOCABULARY), Q8_0),
        ("output_norm.weight", (HIDDEN,), F32),
        ("output.weight", (HIDDEN, VOCABULARY), Q8_0),
    ]
    for layer in range(LAYERS):
        tensors += [(f"blk.{layer}.{name}.weight", shape, Q8_0) for name, shape in matrices.items()]
        tensors += [(f"blk.{layer}.{name}.weight", (HIDDEN,), F32) for name in ("attn_norm", "ffn_norm")]
    return tensors


def _size(shape: tuple[int, ...], kind: int) -> int:
    weights = 1
    for side in shape:
        weights *= side
    return weights * 4 if kind == F32 else weights // BLOCK_WEIGHTS * (2 + BLOCK_WEIGHTS)


def _random_blocks() -> bytes:
    """Some thousand q8_0 blocks, each a 16-bit scale and 32 weights."""
    random = Random(0)
    scale = struct.pack("<e", 0.0003)
    return b"".join(scale + random.randbytes(BLOCK_WEIGHTS) for _ in range(4096))


def _metadata() -> list[bytes]:
    tokens = [*_byte_tokens(), "<end>", *(f"<unused {number}>" for number in range(257, VOCABULARY))]
    return [
        _text("general.architecture", "llama"),
        _text("general.name", "random"),
        _number("llama.context_length", CONTEXT_TOKENS),
        _number("llama.embedding_length", HIDDEN),
        _number("llama.block_count", LAYERS),
        _number("llama.feed_forward_length", INTERMEDIATE),
        _number("llama.attention.head_count", HEADS),
        _number("llama.attention.head_count_kv", KEY_VALUE_HEADS),
        _number("llama.vocab_size", VOCABULARY),
        _number("llama.rope.dimension_count", HEAD),
        _string("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", FLOAT32, 1e-5),
        _text("tokenizer.ggml.model", "gpt2"),
        _text("tokenizer.ggml.pre", "gpt-2"),
        _list("tokenizer.ggml.tokens", tokens),
        _list("tokenizer.ggml.merges", ["a b"]),
        _string("tokenizer.ggml.token_type")
        + struct.pack(f"<IIQ{VOCABULARY}i", ARRAY, INT32, VOCABULARY, *[1] * 256, *[3] * (VOCABULARY - 256)),
        _number("tokenizer.ggml.eos_token_id", 256),
        _number("tokenizer.ggml.bos_token_id", 256),
    ]


def _byte_tokens() -> list[str]:
    """GPT-2's spelling of the 256 bytes: printable ones as they are, others from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _text(key: str, value: str) -> bytes:
    return _string(key) + struct.pack("<I", STRING) + _string(value)


def _number(key: str, value: int) -> bytes:
    return _string(key) + struct.pack("<II", UINT32, value)


def _list(key: str, values: list[str]) -> bytes:
    return _string(key) + struct.pack("<IIQ", ARRAY, STRING, len(values)) + b"".join(map(_string, values))
