"""The models that a worker's file names, each as the file of a worker that serves only that one."""

import msgspec

from cocoon_p2p.config import Loaded, WorkerFile
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.inference.processors import default_threads
from cocoon_p2p.inference.several import SeveralEngines
from cocoon_p2p.protocols.messages import Price

URL_SCHEMES = ("http://", "https://")


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
                "completion": section.price_completion, "reasoning": section.price_reasoning}  # fmt: skip
        price = msgspec.structs.replace(
            settings.price, **{name: value for name, value in said.items() if value is not None}
        )
        one = Loaded(msgspec.structs.replace(settings, worker=worker, price=price, model=[]), loaded.path)
        _price(one)
        ones.append(one)
    return tuple(ones)


def prices(loaded: Loaded[WorkerFile], engine: Engine) -> dict[str, Price]:
    """Say what each model of an engine that `open_engine` opened costs."""
    engines = engine.engines if isinstance(engine, SeveralEngines) else (engine,)
    return {
        card.name: _price(one)
        for one, each in zip(one_each(loaded), engines, strict=True)
        for card in each.capabilities.models
    }


def _price(loaded: Loaded[WorkerFile]) -> Price:
    """Say what a file's model costs. Clients refuse one whose cached tokens are dearer than computed ones."""
    section = loaded.settings.price
    cached = section.prompt // 4 if section.cached is None else section.cached
    if cached > section.prompt:
        raise ConfigurationError(
            f"a cached token would cost more than a computed one (cached={cached} prompt={section.prompt})",
            hint="lower the price of cached tokens, or leave it out: a quarter of the prompt's",
        )
    return Price(section.prompt, cached, section.completion, section.reasoning)
