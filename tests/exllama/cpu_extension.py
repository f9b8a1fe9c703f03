"""ExLlamaV2's compiled extension, as far as its Python code calls it for the processor, in Python.

With it the library's own generator, jobs, sampler and tokenizer run on a machine without a card. What it
calls for a card is missing on purpose: whoever touches it gets an AttributeError.
"""

import sys
import types
from itertools import pairwise
from typing import Any

import torch


def partial_strings_match(text: Any, offsets: Any, strings: Any) -> int:
    """Where a string is complete; -2 if the end may begin one; -1 for nothing."""
    haystack, bounds = bytes(text).decode("utf-32-le"), offsets.view("int32") if len(offsets) else []
    needles = [bytes(strings)[a:b].decode("utf-32-le") for a, b in pairwise(bounds)]
    for start in range(len(haystack)):
        if any(haystack.startswith(needle, start) for needle in needles):
            return start
    ends = (haystack[start:] for start in range(len(haystack)))
    return -2 if any(needle.startswith(end) for end in ends for needle in needles) else -1


def count_match(a: torch.Tensor, b: torch.Tensor, most: int) -> int:
    """How many tokens at the beginning are equal."""
    length = min(most, b.shape[1])
    differences = (a[0, :length] != b[0, :length]).nonzero()
    return int(differences[0]) if len(differences) else length


def sample_basic(
    logits: torch.Tensor, temperature: float, top_k: int, top_p: float, _a: float, _min_p: float, _tfs: float,
    _typical: float, random: float, tokens: torch.Tensor, probabilities: torch.Tensor, *_rest: Any,
) -> list[float]:  # fmt: skip
    """Sample by temperature, top-k and top-p."""
    for row in range(logits.shape[0]):
        spread = torch.softmax(logits[row, 0].float() / max(temperature, 1e-5), -1)
        spread, order = spread.sort(descending=True)
        if top_k > 0:
            spread, order = spread[:top_k], order[:top_k]
        if 0 < top_p < 1:
            kept = int((spread.cumsum(0) < top_p * spread.sum()).sum()) + 1
            spread, order = spread[:kept], order[:kept]
        spread = spread / spread.sum()
        chosen = int((spread.cumsum(0) < random).sum().clamp(max=len(spread) - 1))
        tokens[row, 0], probabilities[row, 0] = order[chosen], spread[chosen]
    return []


def cache_rotate(pages: torch.Tensor, order: torch.Tensor, spare: torch.Tensor) -> None:
    """Move each page named in `order` to the place of the one before it, and the first to the last's."""
    first = pages[order[0]].clone()
    for target, source in pairwise(order.tolist()):
        pages[target] = pages[source]
    pages[order[-1]] = first


def fast_fill_cpu_ones_bool(values: torch.Tensor) -> None:
    values.fill_(True)


def fast_copy_cpu(target: torch.Tensor, source: torch.Tensor) -> None:
    target.copy_(source)


def fast_fadd_cpu(target: torch.Tensor, source: torch.Tensor) -> None:
    target.add_(source)


def install() -> None:
    """Let `import exllamav2` find this instead of compiling its own."""
    extension = types.ModuleType("exllamav2_ext")
    for function in (
        partial_strings_match,
        count_match,
        cache_rotate,
        sample_basic,
        fast_fill_cpu_ones_bool,
        fast_copy_cpu,
        fast_fadd_cpu,
    ):
        setattr(extension, function.__name__, function)
    sys.modules.setdefault("exllamav2_ext", extension)
