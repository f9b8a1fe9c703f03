"""The models that a worker's file names, each as the file of a worker that serves only that one."""

import msgspec

from cocoon_p2p.config import Loaded, WorkerFile
from cocoon_p2p.config.pricing import CEILING, FLOOR
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.inference.processors import default_threads
from cocoon_p2p.inference.several import SeveralEngines
from cocoon_p2p.payments.asking_price import PROMPT_SHARE, Bounds, Plan
from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.units import NANO_MAX

URL_SCHEMES = ("http://", "https://")

FIRST = 20_000
"What `auto` begins at: nanoTON for 1,000 completion tokens."


def one_each(loaded: Loaded[WorkerFile]) -> tuple[Loaded[WorkerFile], ...]:
    """Split a worker's file by its models.

    Processors are shared out: engines that each took them all would wait for one another in their
    innermost loops. Slots are not: any mix of so many requests can be computed.

    Raises:
        ConfigurationError: These models cannot be served by one worker.
    """
    settings = loaded.settings
    if not settings.model:
        _price(loaded)
        return (loaded,)
    urls = sum(section.model.startswith(URL_SCHEMES) for section in settings.model)
    if urls > 1:
        raise ConfigurationError(
            f"one worker serves the models of one server (servers={urls})",
            hint="run a worker for each server",
        )
    if len(settings.model) > 1 and settings.attestation.evidence != "none":
        raise ConfigurationError(
            f"a worker that proves itself serves one model (models={len(settings.model)})",
            hint="run a worker for each model",
        )
    here = len(settings.model) - urls
    threads = settings.worker.threads or (0 if here <= 1 else max(1, default_threads() // here))
    ones: list[Loaded[WorkerFile]] = []
    for section in settings.model:
        worker = msgspec.structs.replace(
            settings.worker,
            model=section.model,
            name=section.name,
            context_tokens=section.context_tokens or settings.worker.context_tokens,
            threads=section.threads or threads,
        )
        said = {"prompt": section.price_prompt, "cached": section.price_cached,
                "completion": section.price_completion, "reasoning": section.price_reasoning,
                "floor": section.price_floor, "ceiling": section.price_ceiling}  # fmt: skip
        price = msgspec.structs.replace(
            settings.price, **{name: value for name, value in said.items() if value is not None}
        )
        one = Loaded(msgspec.structs.replace(settings, worker=worker, price=price, model=[]), loaded.path)
        _price(one)
        ones.append(one)
    return tuple(ones)


def prices(loaded: Loaded[WorkerFile], engine: Engine) -> dict[str, Price]:
    """Say what each model of an engine that `open_engine` opened costs to begin with."""
    return {name: plan.at(plan.first) for name, plan in plans(loaded, engine).items()}


def plans(loaded: Loaded[WorkerFile], engine: Engine) -> dict[str, Plan]:
    """Say how each model of an engine that `open_engine` opened is priced."""
    engines = engine.engines if isinstance(engine, SeveralEngines) else (engine,)
    return {
        card.name: _price(one)
        for one, each in zip(one_each(loaded), engines, strict=True)
        for card in each.capabilities.models
    }


def _price(loaded: Loaded[WorkerFile]) -> Plan:
    """Say how a file's model is priced. With a unit all is in its millionths, but for the bounds."""
    section = loaded.settings.price
    is_pegged = bool(section.unit)
    reasoning = section.completion if is_pegged and section.reasoning == "auto" else section.reasoning
    classes = [None if each == "auto" else each for each in (section.prompt, section.completion, reasoning)]
    prompt, completion, reasoning_said = classes
    unbounded = (0, NANO_MAX) if is_pegged else (FLOOR, CEILING)
    floor, ceiling = (
        least if said is None else said
        for said, least in zip((section.floor, section.ceiling), unbounded, strict=True)
    )
    if floor > ceiling:
        raise ConfigurationError(
            f"a model's floor is above its ceiling (floor={floor} ceiling={ceiling})",
            hint="raise `price_ceiling` of this [[model]], or `ceiling` in [price]",
        )
    bounds = Bounds(floor, ceiling)
    # Of a prompt that follows the market, at its cheapest.
    least = bounds.floor // PROMPT_SHARE if prompt is None else prompt
    if section.cached is not None and section.cached > least:
        raise ConfigurationError(
            f"a cached token would cost more than a computed one (cached={section.cached} prompt={least})",
            hint="lower the price of cached tokens, or leave it out: a quarter of the prompt's",
        )
    return Plan(prompt, section.cached, completion, reasoning_said, bounds, bounds.within(FIRST))
