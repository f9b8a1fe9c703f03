"""A child from its start to its end: a process, a line to it, and what it says until it serves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import Capabilities
from cocoon_p2p.inference.isolated.faults import error_of
from cocoon_p2p.inference.isolated.forwarding import HEARD_MAX, Allowance, write_log
from cocoon_p2p.inference.isolated.frames import (
    FROM_CHILD,
    FromChild,
    LineBroken,
    Logged,
    Open,
    Opened,
    OpenFailed,
    Progress,
)
from cocoon_p2p.inference.isolated.line import Line
from cocoon_p2p.inference.isolated.process import EngineProcess
from cocoon_p2p.inference.isolated.running import RunningChild
from cocoon_p2p.inference.manifest import Progress as TellProgress
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.protocols.ids import ENGINE_STALL_SECONDS


@dataclass(frozen=True, slots=True)
class Plan:
    """What a child is started with."""

    module: str
    first: Open
    progress: TellProgress | None
    patience_seconds: float = ENGINE_STALL_SECONDS
    "A child that says nothing for so long hangs; so does one whose engine makes no step, or lets go of none."


@asynccontextmanager
async def open_child(plan: Plan) -> AsyncIterator[RunningChild]:
    """Start a child, wait until it has loaded, and end it when the block ends. A cancel does so too.

    Raises:
        ConfigurationError: It cannot be started, cannot load, or died over it.
        CocoonError: What else its engine raised when it was opened.
    """
    process = EngineProcess(plan.module)
    line = Line(process.line, FROM_CHILD)
    try:
        async with open_service_nursery() as nursery:
            nursery.start_soon(line.write)
            line.send(plan.first)
            capabilities = await _loaded(process, line, plan)
            yield RunningChild(line, capabilities, process.end, patience_seconds=plan.patience_seconds)
    finally:
        line.close()
        await process.end()


async def _loaded(process: EngineProcess, line: Line[FromChild], plan: Plan) -> Capabilities:
    log_allowance = Allowance(HEARD_MAX)
    while messages := await line.receive():
        for message, _ in messages:
            match message:
                case Opened(capabilities):
                    if capabilities.slots < 1 or not capabilities.models:
                        raise LineBroken("an engine that offers nothing")
                    return capabilities
                case OpenFailed(fault):
                    raise error_of(fault)
                case Progress(done_bytes, total_bytes):
                    if plan.progress is not None:
                        plan.progress(done_bytes, total_bytes)
                case Logged():
                    write_log(message, log_allowance)
                case _:
                    raise LineBroken("an engine that speaks before it is open")
    raise ConfigurationError(
        f"the engine's process died while it loaded the model ({await process.end()})",
        hint="SIGKILL: too little memory, try fewer slots or a shorter context; else the file may be broken",
    )
