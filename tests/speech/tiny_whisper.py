"""Whisper models of a few hundred kilobytes, in CTranslate2's own form, which say what a test has them say.

Nothing here was trained. A model with `script=None` has random weights: what it writes means nothing, and
depends on the sound. One with a script writes that, whatever it hears: its layers pass on what they are
given, so what comes after so many tokens hangs on their number alone.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import whisper_spec
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

LANGUAGES = ("en", "de", "ru")
MARKS = 1501
WIDTH = 128
PROMPT_TOKENS = 3
"What stands before the first sampled one: start, language, task."

_CONTROL = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{name}|>" for name in LANGUAGES)]
_CONTROL += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]
_CONTROL += ["<|notimestamps|>"]
_ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())

# The library knows a model of many languages by the token that is empty.
TOKENS = [*_ALPHABET, "", *_CONTROL, *(f"<|{at * 0.02:.2f}|>" for at in range(MARKS))]
ID = {token: at for at, token in enumerate(TOKENS)}


def script(*parts: str | float) -> list[int]:
    """Spell what a window says: text, a token a byte, and marks of time in seconds."""
    found: list[int] = []
    for part in parts:
        if isinstance(part, str):
            pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(part)
            found += [ID[character] for text, _ in pieces for character in text]
        else:
            found.append(ID[f"<|{part:.2f}|>"])
    return found


def write_model(folder: Path, script: Sequence[int] | None = None, *, languages: bool = True) -> Path:
    """Write a model's folder."""
    folder.mkdir(parents=True)
    tokens = TOKENS if languages else [token or "<|none|>" for token in TOKENS]
    spec = whisper_spec.WhisperSpec(1, 2, 1, 2)
    draw = np.random.default_rng(7)
    _fill(spec, draw, scale=0.3 if script is None else 0.0)
    spec.encoder.conv1.weight = _numbers(draw, 0.1, WIDTH, 80, 3)
    spec.encoder.conv2.weight = _numbers(draw, 0.1, WIDTH, WIDTH, 3)
    spec.encoder.position_encodings.encodings = _numbers(draw, 0.1, 1500, WIDTH)
    spec.decoder.embeddings.weight = _numbers(draw, 0.3 if script is None else 0.0, len(tokens), WIDTH)
    positions = _numbers(draw, 1.0, 448, WIDTH)
    spec.decoder.position_encodings.encodings = positions
    spec.decoder.projection.weight = _numbers(draw, 0.3 if script is None else 0.0, len(tokens), WIDTH)
    for at, token in enumerate([*script, ID["<|endoftext|>"]] if script is not None else []):
        place = positions[PROMPT_TOKENS - 1 + at]
        spec.decoder.projection.weight[token] += place / np.linalg.norm(place) * 4
    spec.register_vocabulary(tokens)
    spec.config.lang_ids = [ID[f"<|{name}|>"] for name in LANGUAGES]
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.validate()
    spec.save(str(folder))
    _write_tokenizer(folder / "tokenizer.json")
    return folder


def _fill(part: Any, draw: np.random.Generator, scale: float) -> None:
    """Give every layer numbers of the right shape."""
    for name, value in list(vars(part).items()):
        if name == "linear":
            for each, rows in zip(value, {2: (3, 1), 3: (1, 2, 1)}[len(value)], strict=True):
                _fill_linear(each, draw, scale, rows * WIDTH, WIDTH)
        elif name == "ffn":
            _fill_linear(value.linear_0, draw, scale, 2 * WIDTH, WIDTH)
            _fill_linear(value.linear_1, draw, scale, WIDTH, 2 * WIDTH)
            _fill(value, draw, scale)
        elif name == "layer_norm":
            value.gamma, value.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
        elif name in ("conv1", "conv2"):
            value.bias = np.zeros(WIDTH, np.float32)
        elif isinstance(value, list):
            for each in value:
                _fill(each, draw, scale)
        elif hasattr(value, "__dict__"):
            _fill(value, draw, scale)


def _fill_linear(layer: Any, draw: np.random.Generator, scale: float, rows: int, columns: int) -> None:
    layer.weight, layer.bias = _numbers(draw, scale, rows, columns), np.zeros(rows, np.float32)


def _numbers(draw: np.random.Generator, scale: float, *shape: int) -> Any:
    return (draw.standard_normal(shape) * scale).astype(np.float32)


def _write_tokenizer(path: Path) -> None:
    plain = {token: ID[token] for token in [*_ALPHABET, ""]}
    tokenizer = Tokenizer(models.BPE(vocab=plain, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(TOKENS[len(plain) :])
    tokenizer.save(str(path))
    written = json.loads(path.read_text())
    assert {each["content"]: each["id"] for each in written["added_tokens"]}["<|0.00|>"] == ID["<|0.00|>"]
