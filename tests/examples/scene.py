"""What an example stands on in its test: the module itself, and a client of a network in memory."""

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import ModuleType

from cocoon_p2p.aio.client import Client
from cocoon_p2p.aio.opening import open_portal
from cocoon_p2p.inference.engine import Engine
from tests.aio.scene import open_bought

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    """Load one of the examples, which are no package."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def bought(*engines: Engine) -> AsyncIterator[Client]:
    async with open_portal(partial(open_bought, engines)) as portal:
        yield Client(portal)
