"""Train the demo model on a processor: `python train.py FOLDER [--steps N]`.

Writes fp16 safetensors, config, tokenizer and chat template into FOLDER. Needs torch,
tokenizers and safetensors, none of which the package needs, and a C++ compiler for torch.compile.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from documents import BEGIN_OF_TEXT, TASKS_FIRST, TASKS_THEN, Part, document
from model import Llama, Shape
from safetensors.torch import save_file
from tokenizer import CHAT_TEMPLATE, TOKENIZER_CONFIG, trained_tokenizer
from tokenizers import Tokenizer
from torch import Tensor, nn, optim
from torch.nn import functional

DOCUMENTS = 160_000
TOKENIZER_DOCUMENTS = 20_000
STEPS = 6_550
SHARE_FIRST = 0.61
"Of the steps, how many train on the first mixture of tasks, before the second."

SEQUENCES = 12
SEQUENCE_TOKENS = 192
LEARNING_RATE = 3e-3
WARM_UP_STEPS = 60
DECAY_SHARE = 0.55
"The learning rate falls to nearly zero over this last part of the steps."

QUESTION_SHARE = 0.1
"Of an answer's tokens the loss counts all, of a question's so many, drawn anew at each step."

REPORT_STEPS = 100


@dataclass(frozen=True, slots=True)
class Tokens:
    """The whole corpus as one row, and which tokens stand in answers."""

    ids: Tensor
    in_answers: Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    draw = random.Random(0)
    first, then = ([document(draw, tasks) for _ in range(DOCUMENTS)] for tasks in (TASKS_FIRST, TASKS_THEN))
    tokenizer = trained_tokenizer(
        "".join(part.text for part in parts) for parts in first[:TOKENIZER_DOCUMENTS]
    )
    model = Llama(Shape(vocabulary=-(-tokenizer.get_vocab_size() // 32) * 32))
    print(f"{sum(weight.numel() for weight in model.parameters())} parameters", flush=True)
    train(model, encoded(first, tokenizer), encoded(then, tokenizer), arguments.steps)
    save(arguments.folder, model, tokenizer)


def encoded(documents: Iterable[Sequence[Part]], tokenizer: Tokenizer) -> Tokens:
    ids: list[int] = []
    in_answers: list[bool] = []
    begin = Part(BEGIN_OF_TEXT, is_answer=False)
    for parts in documents:
        marked = [begin, *parts]
        for part, encoding in zip(
            marked, tokenizer.encode_batch([part.text for part in marked]), strict=True
        ):
            ids += encoding.ids
            in_answers += [part.is_answer] * len(encoding.ids)
    return Tokens(torch.tensor(ids, dtype=torch.int32), torch.tensor(in_answers))


def train(model: Llama, first: Tokens, then: Tokens, steps: int) -> None:
    optimizers = _optimizers(model)
    hidden = cast("Callable[[Tensor], Tensor]", torch.compile(model))
    started, losses = time.process_time(), list[float]()
    for step in range(steps):
        rate = _learning_rate(step, steps)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        tokens = first if step < SHARE_FIRST * steps else then
        losses.append(_step(model, hidden, tokens, optimizers))
        if step % REPORT_STEPS == 1:
            recent = losses[-REPORT_STEPS:]
            seconds = time.process_time() - started
            loss = sum(recent) / len(recent)
            print(f"step {step} answer loss {loss:.4f} after {seconds:.0f} s of processor time", flush=True)


def _optimizers(model: Llama) -> list[optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, head and norms."""
    named = list(model.named_parameters())
    inner = [weight for name, weight in named if weight.ndim == 2 and name.startswith("layers.")]
    outer = [weight for name, weight in named if not (weight.ndim == 2 and name.startswith("layers."))]
    return [
        optim.Muon(inner, lr=LEARNING_RATE, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        optim.AdamW(outer, lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def _learning_rate(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    return LEARNING_RATE * warm * max(0.02, min(1.0, (1 - step / steps) / DECAY_SHARE))


def _step(
    model: Llama, hidden: Callable[[Tensor], Tensor], tokens: Tokens, optimizers: Sequence[optim.Optimizer]
) -> float:
    """One step of training. Returns the mean loss over the tokens of answers."""
    starts = torch.randint(0, len(tokens.ids) - SEQUENCE_TOKENS - 1, (SEQUENCES,))
    rows = torch.stack([tokens.ids[start : start + SEQUENCE_TOKENS + 1] for start in starts]).long()
    in_answers = torch.stack([tokens.in_answers[start + 1 : start + SEQUENCE_TOKENS + 1] for start in starts])
    counted = in_answers | (torch.rand(in_answers.shape) < QUESTION_SHARE)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.lm_head(hidden(rows[:, :-1])[counted])
    each = functional.cross_entropy(logits.float(), rows[:, 1:][counted], reduction="none")
    each.mean().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(each.detach()[in_answers[counted]].mean())


def save(folder: Path, model: Llama, tokenizer: Tokenizer) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        ("" if name.startswith("lm_head") else "model.") + name: weight.half().contiguous()
        for name, weight in model.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    for name, content in (
        ("config.json", model.shape.config()),
        ("tokenizer_config.json", TOKENIZER_CONFIG),
        ("generation_config.json", {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0}),
    ):
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
