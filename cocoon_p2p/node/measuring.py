"""How quick a worker's engine is: as was measured before, or measured now.

    cocoon bench    all levels of load, up to the slots --> measured.json: speeds, slots worth having
    cocoon worker   measured.json, where it holds; else, once nobody is served, one request and all slots

Spec: inference/measuring.md.
"""

import logging
import time
from collections.abc import Callable, Container

import msgspec
import trio

from cocoon_p2p.config import SLOTS_UNMEASURED, Loaded, WorkerFile
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import Engine, EngineError, ModelCard
from cocoon_p2p.inference.measuring.kept import (
    Circumstances,
    Measurement,
    read_measurements,
    write_measurements,
)
from cocoon_p2p.inference.measuring.levels import Level, Speeds, concurrencies, slots_worth_having, speeds_at
from cocoon_p2p.inference.measuring.machine import describe_machine
from cocoon_p2p.inference.measuring.sweep import sweep
from cocoon_p2p.node.announce import Announce
from cocoon_p2p.worker.slots import Slots

log = logging.getLogger(__name__)

SLOTS_TRIED = 8
"How many slots `cocoon bench` opens an engine with where it is to find out how many are worth having."


def with_slots(loaded: Loaded[WorkerFile], *, is_bench: bool = False) -> Loaded[WorkerFile]:
    """Settle how many slots `auto` is: what was found worth having on this machine, of this model.

    Args:
        loaded: The worker's file.
        is_bench: Whether it is to be found out now; then there are as many as are tried.
    """
    worker = loaded.settings.worker
    if worker.slots != "auto":
        return loaded
    slots = SLOTS_TRIED if is_bench else _slots_found(loaded) or worker.slots_opened
    settings = msgspec.structs.replace(loaded.settings, worker=msgspec.structs.replace(worker, slots=slots))
    return Loaded(settings, loaded.path)


def _slots_found(loaded: Loaded[WorkerFile]) -> int | None:
    return max(_slots_kept(loaded).values(), default=None)


def _slots_kept(loaded: Loaded[WorkerFile]) -> dict[str, int]:
    here = describe_machine(), _model(loaded)
    return {
        name: each.slots
        for name, each in read_measurements(loaded.data_directory).items()
        if (each.circumstances.machine, each.circumstances.model) == here and each.slots is not None
    }


async def bench(
    loaded: Loaded[WorkerFile],
    engine: Engine,
    *,
    seconds: float,
    is_auto: bool,
    tell: Callable[[ModelCard, Level], None] = lambda _card, _level: None,
) -> dict[str, Measurement]:
    """Measure each model of an engine, all levels of load, and keep what came of it in the data folder.

    Args:
        loaded: The worker's file, its slots settled.
        engine: Opened by it.
        seconds: About how long each model may take.
        is_auto: Whether the worker opens as many slots as are found worth having here.
        tell: Told of each level when it is done.

    Raises:
        EngineError: It cannot be measured.
        ConfigurationError: The data folder cannot be written.
    """
    levels: dict[str, tuple[Level, ...]] = {}
    slots, cards = engine.capabilities.slots, engine.capabilities.models
    for card in cards:

        def tell_level(level: Level, card: ModelCard = card) -> None:
            tell(card, level)

        levels[card.name] = await sweep(
            engine, card, concurrencies=concurrencies(slots), seconds=seconds, tell=tell_level
        )
    worth = {name: slots_worth_having(tried, slots) for name, tried in levels.items()}
    # Slots are one number for all models: what one of them is worth having them for.
    opened = max(found or SLOTS_UNMEASURED for found in worth.values()) if is_auto else slots
    now = int(time.time())
    measured = {
        card.name: Measurement(
            _circumstances(loaded, engine, card, opened), now, levels[card.name], worth[card.name]
        )
        for card in cards
    }
    write_measurements(loaded.data_directory, measured)
    return measured


def kept_speeds(loaded: Loaded[WorkerFile], engine: Engine) -> dict[str, Speeds]:
    """Say how quick an engine's models are, by what is kept of them and still holds."""
    if not loaded.settings.worker.measure_seconds:
        return {}
    kept, slots = read_measurements(loaded.data_directory), engine.capabilities.slots
    return {
        card.name: speeds_at(known.levels, slots)
        for card in engine.capabilities.models
        if (known := kept.get(card.name)) is not None
        and known.circumstances == _circumstances(loaded, engine, card, slots)
    }


async def measure_when_idle(
    loaded: Loaded[WorkerFile],
    engine: Engine,
    slots: Slots,
    known: Container[str],
    say: Callable[[str, Speeds], None],
    announce: Announce,
) -> None:
    """Measure each model of which nothing is kept, as soon as nobody is served, and keep what comes of it.

    Clients come first: a request that arrives meanwhile has the engine within one step, and the measurement
    begins anew after it. A model that cannot be measured is left out, and nothing is promised of it.

    Args:
        loaded: The worker's file.
        engine: It serves already.
        slots: The worker's; whoever takes one is a client.
        known: Models that need no measuring.
        say: Told what is to be advertised.
        announce: Told of it as a step.
    """
    seconds = loaded.settings.worker.measure_seconds
    for card in engine.capabilities.models:
        if card.name in known or not seconds:
            continue
        try:
            levels = await _undisturbed(engine, card, seconds, slots)
        except Exception as exc:  # noqa: BLE001  # whatever an engine raises, its worker lives on
            log.warning("not measured", extra={"model": card.name, "error": type(exc).__name__})
            continue
        found = speeds_at(levels, slots.total)
        say(card.name, found)
        announce("speed", model=card.name, **_spelled(found))
        here = _circumstances(loaded, engine, card, slots.total)
        # What a bench found worth having stays found: this did not look for it.
        worth = _slots_kept(loaded).get(card.name)
        try:
            write_measurements(
                loaded.data_directory, {card.name: Measurement(here, int(time.time()), levels, worth)}
            )
        except ConfigurationError as exc:
            # The next start measures again, that is all.
            log.warning("speeds not kept", extra={"why": str(exc)})


async def _undisturbed(engine: Engine, card: ModelCard, seconds: float, slots: Slots) -> tuple[Level, ...]:
    """Measure one request alone and as many as there are slots, in a time when nobody is served."""
    concurrencies = sorted({1, slots.total})
    while True:
        while slots.is_busy:
            await slots.changed.wait()
        found = list[tuple[Level, ...]]()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_once_busy, slots, nursery.cancel_scope)
                found.append(await sweep(engine, card, concurrencies=concurrencies, seconds=seconds))
                nursery.cancel_scope.cancel()
        except* EngineError as group:
            raise group.exceptions[0] from None
        if found:
            return found[0]


async def _cancel_once_busy(slots: Slots, scope: trio.CancelScope) -> None:
    while not slots.is_busy:
        await slots.changed.wait()
    scope.cancel()


def _spelled(speeds: Speeds) -> dict[str, str]:
    spelled = {"prefill": f"prefill {speeds.prefill:,.0f} tokens/s"}
    if speeds.decode is not None:
        spelled["decode"] = f"decode {speeds.decode:,.1f}"
    if speeds.decode_full is not None:
        spelled["decode_full"] = f"at full load {speeds.decode_full:,.1f} each"
    return spelled


def _model(loaded: Loaded[WorkerFile]) -> str:
    """Name the model of a worker's file, or all of them: they share memory and processors."""
    several = loaded.settings.model
    return " + ".join(section.model for section in several) if several else loaded.settings.worker.model


def _circumstances(loaded: Loaded[WorkerFile], engine: Engine, card: ModelCard, slots: int) -> Circumstances:
    return Circumstances(
        model=_model(loaded),
        weights_hash=card.weights_hash.hex(),
        engine=engine.capabilities.engine,
        context_tokens=card.context_tokens,
        slots=slots,
        threads=loaded.settings.worker.threads,
        machine=describe_machine(),
    )
