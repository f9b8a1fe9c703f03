"""Our ExLlamaV2 engine against the library's bare generator, on the same loaded model in the same run.

Tokens a second, and the time to the first one, at 1, 8 and 32 requests; the order changes from round to
round. The model has random weights, made here. `make test-gpu` runs it.

Without an NVIDIA card nothing is measured, and that is said. `--processor` tries the script on a processor,
by the forward pass of the tests: its figures say nothing of a card.
"""

import argparse
import importlib
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import Engine, GenerateRequest
from cocoon_p2p.inference.exllama.loading import CHUNK_TOKENS, LoadedModel, Placement, library_version, load
from cocoon_p2p.inference.exllama.model_folder import ModelFolder, read_folder
from cocoon_p2p.inference.exllama.opening import serve_loaded

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._measure import milliseconds, print_machine, spread
from benchmarks._random_folder import CARD, PROCESSOR, write_random_folder

REQUESTS = (1, 8, 32)
PROMPT_CHARACTERS = 200
"One token each, all of them new: what was computed for one run is no use to another."


@dataclass
class Run:
    """What one way of asking took."""

    seconds: float = 0.0
    first_seconds: list[float] = field(default_factory=list)


def main() -> None:
    arguments = _arguments()
    if (reason := _reason_not_to_run(arguments.processor)) is not None:
        print(f"not run: {reason}")
        return
    tokens, rounds = (32, 2) if arguments.quick or arguments.processor else (256, 7)
    print_machine()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "random"
        shape = PROCESSOR if arguments.processor else CARD
        write_random_folder(path, shape)
        folder = read_folder(path)
        placement = Placement(slots=max(REQUESTS), context_tokens=512)
        loaded = (_load_on_processor if arguments.processor else load)(folder, placement)
        mode = "in pages" if loaded.paged else "one request at a time, without flash-attn"
        print(f"{library_version()}, {shape.parameters / 1e6:.0f} M parameters in 16 bits, {mode}")
        trio.run(_measure, loaded, folder, placement, tokens, rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few rounds: tries the script, measures little"
    )
    parser.add_argument("--processor", action="store_true", help="by the tests' forward pass, without a card")
    return parser.parse_args()


def _reason_not_to_run(on_processor: bool) -> str | None:
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return "ExLlamaV2 is not installed here; see `make test-gpu`"
    if on_processor:
        importlib.import_module("tests.exllama.cpu_extension").install()
    elif not torch.cuda.is_available():
        return "there is no NVIDIA card that torch can use (`--processor` tries the script without one)"
    try:
        library_version()
    except ConfigurationError as exc:
        return str(exc)
    return None


def _load_on_processor(folder: ModelFolder, placement: Placement) -> LoadedModel:
    # The library only asks for flash-attn; the tests' forward pass knows pages.
    importlib.import_module("exllamav2.generator.dynamic").assert_paged_attn = lambda: None
    bench: Callable[[ModelFolder], Any] = importlib.import_module("tests.exllama.conftest").Bench
    loaded: LoadedModel = bench(folder).load(placement)
    return loaded


async def _measure(
    loaded: LoadedModel, folder: ModelFolder, placement: Placement, tokens: int, rounds: int
) -> None:
    serving = serve_loaded(loaded, folder, placement, library_version(), name="random", weights=bytes(32))
    async with serving as engine:
        for requests in REQUESTS:
            if requests > engine.capabilities.slots:
                print(f"{requests} requests: not run (slots={engine.capabilities.slots})")
                continue
            bare, ours = list[Run](), list[Run]()
            for number in range(rounds + 1):
                for way in ("bare", "ours") if number % 2 else ("ours", "bare"):
                    if way == "ours":
                        ours.append(await _ours(engine, requests, tokens))
                    else:
                        bare.append(await trio.to_thread.run_sync(_bare, loaded, placement, requests, tokens))
            # The first round warms up.
            _report(requests, tokens, bare[1:], ours[1:])


def _prompt() -> str:
    return "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=PROMPT_CHARACTERS))


async def _ours(engine: Engine, requests: int, tokens: int) -> Run:
    run, started = Run(), time.perf_counter()

    async def ask() -> None:
        request = GenerateRequest("random", prompt=_prompt(), completion_tokens_max=tokens, ignore_eos=True)
        is_first = True
        async with engine.generate(request) as pieces:
            async for piece in pieces:
                if is_first and piece.completion_tokens:
                    run.first_seconds.append(time.perf_counter() - started)
                    is_first = False

    async with trio.open_nursery() as nursery:
        for _ in range(requests):
            nursery.start_soon(ask)
    run.seconds = time.perf_counter() - started
    return run


def _bare(loaded: LoadedModel, placement: Placement, requests: int, tokens: int) -> Run:
    """Ask the library as its own examples do. Our engine has nothing to do meanwhile."""
    dynamic: Any = importlib.import_module("exllamav2.generator.dynamic")
    sampler: Any = importlib.import_module("exllamav2.generator").ExLlamaV2Sampler
    generator = dynamic.ExLlamaV2DynamicGenerator(
        loaded.model,
        loaded.cache,
        loaded.tokenizer,
        max_batch_size=placement.slots if loaded.paged else 1,
        max_chunk_size=min(CHUNK_TOKENS, placement.context_tokens),
        paged=loaded.paged,
    )
    run, started = Run(), time.perf_counter()
    for number in range(requests):
        ids = loaded.tokenizer.encode(_prompt())
        settings = sampler.Settings.greedy()
        generator.enqueue(
            dynamic.ExLlamaV2DynamicJob(
                input_ids=ids, max_new_tokens=tokens, gen_settings=settings, identifier=number
            )
        )
    waiting = set(range(requests))
    while generator.num_remaining_jobs():
        for result in generator.iterate():
            if result["stage"] == "streaming" and result["identifier"] in waiting:
                waiting.remove(result["identifier"])
                run.first_seconds.append(time.perf_counter() - started)
    run.seconds = time.perf_counter() - started
    generator.sampling_pool.shutdown()
    generator.filter_pool.shutdown()
    return run


def _report(requests: int, tokens: int, bare: list[Run], ours: list[Run]) -> None:
    total = requests * tokens
    rates = [[total / run.seconds for run in runs] for runs in (bare, ours)]
    ratios = [its.seconds / mine.seconds for its, mine in zip(bare, ours, strict=True)]
    firsts = [milliseconds([median(run.first_seconds) for run in runs]) for runs in (bare, ours)]
    print(f"{requests} request(s) of {tokens} tokens:")
    print(f"  tokens/s: bare {spread(rates[0], digits=0)}, ours {spread(rates[1], digits=0)}")
    print(f"  ours to bare: {spread(ratios, digits=3)}")
    print(f"  first token: bare {firsts[0]}, ours {firsts[1]}")


if __name__ == "__main__":
    main()
