"""The engines that a worker's file asks for: each in a process of its own, or on a server elsewhere."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cocoon_p2p import private_files
from cocoon_p2p.attestation.configuration import MeasuredConfiguration
from cocoon_p2p.config import Loaded, WorkerFile
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.inference.manifest import SPEECH_WEIGHTS
from cocoon_p2p.inference.models.catalogue import Catalogue, catalogue_folder, load_catalogue
from cocoon_p2p.inference.models.finding import FoundModel, find_model
from cocoon_p2p.inference.models.folder import ModelFolder, default_models_folder
from cocoon_p2p.inference.paced import PacedEngine
from cocoon_p2p.inference.several import SeveralEngines
from cocoon_p2p.node.announce import Announce
from cocoon_p2p.node.served import URL_SCHEMES, one_each

if TYPE_CHECKING:
    from cocoon_p2p.inference.openings import Opening

FILE_HASHES = "file-hashes.json"
"What a model's files hashed to, in the data folder."


def measured(loaded: Loaded[WorkerFile], engine: Engine) -> MeasuredConfiguration:
    """Say what decides who can read a prompt here. Who proves it serves one model (`one_each`)."""
    model = one_each(loaded)[0].settings.worker.model
    return MeasuredConfiguration(
        engine=engine.capabilities.engine.split()[0],
        weights_hash=engine.capabilities.models[0].weights_hash,
        upstream=model if model.startswith(URL_SCHEMES) else "",
        log_level=loaded.settings.log.level,
        uses_gpu=engine.capabilities.engine.startswith("exllamav2"),
    )


@asynccontextmanager
async def open_engine(loaded: Loaded[WorkerFile], announce: Announce) -> AsyncIterator[Engine]:
    """Load or reach the models of a worker's file, one after the other, and serve them.

    Raises:
        ConfigurationError: One cannot be served; the text says what to do.
    """
    ones = one_each(loaded)
    catalogue = load_catalogue(catalogue_folder(os.environ))
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(_open_one(one, catalogue, announce)) for one in ones]
        engine = engines[0] if len(engines) == 1 else SeveralEngines(engines)
        pace = loaded.settings.worker.tokens_per_second
        yield PacedEngine(engine, pace) if pace else engine


@asynccontextmanager
async def _open_one(
    loaded: Loaded[WorkerFile], catalogue: Catalogue, announce: Announce
) -> AsyncIterator[Engine]:
    is_url = loaded.settings.worker.model.startswith(URL_SCHEMES)
    async with _upstream(loaded) if is_url else _local(loaded, catalogue, announce) as engine:
        for card in engine.capabilities.models:
            catalogue.check(card.name, card.weights_hash)
        yield engine


@asynccontextmanager
async def _upstream(loaded: Loaded[WorkerFile]) -> AsyncIterator[Engine]:
    try:
        from cocoon_p2p.inference.upstream import Upstream, open_upstream
    except ImportError as exc:
        raise ConfigurationError(
            f"a model on a server cannot be used: {exc}",
            hint="install what it needs: pip install 'cocoon-p2p[upstream]'",
        ) from exc

    worker, section = loaded.settings.worker, loaded.settings.upstream
    key = _key(loaded.resolve(section.api_key_file)) if section.api_key_file else None
    async with open_upstream(
        Upstream(worker.model, section.model, key),
        name=worker.name or None,
        slots=worker.slots_opened,
        context_tokens=worker.context_tokens or None,
        weights_hash=bytes.fromhex(section.weights) or None,
    ) as engine:
        yield engine


def _key(path: Path) -> str:
    try:
        key = private_files.read(path).decode("ascii").strip()
    except FileNotFoundError as exc:
        raise ConfigurationError(f"there is no {path}", hint="name it in upstream.api_key_file") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path} holds no key", hint="a key is one line of ASCII") from exc
    if not key or not key.isprintable():
        raise ConfigurationError(f"{path} holds no key", hint="a key is one line of ASCII")
    return key


@asynccontextmanager
async def _local(
    loaded: Loaded[WorkerFile], catalogue: Catalogue, announce: Announce
) -> AsyncIterator[Engine]:
    def tell(done_bytes: int, total_bytes: int) -> None:
        announce("hashing", progress=f"{done_bytes / 1e9:.1f} of {total_bytes / 1e9:.1f} GB")

    from cocoon_p2p.inference.isolated import open_isolated

    model = _find(loaded, catalogue)
    # Who proves what it has loaded reads all of it: what a disk remembers, its owner can alter.
    is_proven = loaded.settings.attestation.evidence not in ("none", "sim")
    memory = None if is_proven else loaded.data_directory / FILE_HASHES
    with model.held(f"worker {loaded.path}"):
        async with open_isolated(_opening(loaded, model), memory=memory, progress=tell) as engine:
            yield engine


def _opening(loaded: Loaded[WorkerFile], model: FoundModel) -> "Opening":
    """Say which engine opens a model's files, and how."""
    from cocoon_p2p.inference.openings import ExllamaOpening, LlamaCppOpening, WhisperOpening

    worker = loaded.settings.worker
    if not model.path.is_dir():
        return LlamaCppOpening(
            model=model.path,
            name=worker.name or model.name,
            slots=worker.slots_opened,
            context_tokens=worker.context_tokens or None,
            threads=worker.threads or None,
            has_chat=model.has_chat,
            expected_weights_hash=model.weights_hash,
        )
    if (model.path / SPEECH_WEIGHTS).is_file():
        return WhisperOpening(
            model=model.path,
            name=worker.name or model.name,
            slots=worker.slots_opened,
            context_tokens=worker.context_tokens or None,
            threads=worker.threads or None,
            expected_weights_hash=model.weights_hash,
        )
    section = loaded.settings.exllama
    return ExllamaOpening(
        model=model.path,
        # With adapters it is another model, which needs a name of its own.
        name=worker.name or (None if section.lora else model.name),
        settings={
            "slots": worker.slots_opened,
            "context_tokens": worker.context_tokens or None,
            "cache": section.cache,
            "draft_ngram": section.draft == "ngram",
            "draft": None if section.draft in ("none", "ngram") else loaded.resolve(section.draft),
            "adapters": tuple(map(loaded.resolve, section.lora)),
            "tensor_parallel": section.tensor_parallel,
        },
        has_chat=model.has_chat,
        expected_weights_hash=model.weights_hash,
    )


def _find(loaded: Loaded[WorkerFile], catalogue: Catalogue) -> FoundModel:
    worker = loaded.settings.worker
    folder = loaded.resolve(worker.models) if worker.models else default_models_folder(os.environ)
    return find_model(
        worker.model, beside=loaded.path.parent, folder=ModelFolder(folder), catalogue=catalogue
    )
