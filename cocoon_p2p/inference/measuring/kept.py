"""What was measured, in the node's data folder, so that a restart need not measure again.

It holds while all that decides how quick a model is stays the same: the weights, the engine and its
version, the context, slots and threads, and the machine. What cannot be read is as good as nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cocoon_p2p import private_files
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.measuring.levels import Level

FILE = "measured.json"
"In the data folder."


SLOTS_MAX = 256
"More are not opened (`worker.slots`)."

RATES = (0.001, 1e9)
"Tokens per second, the least and the most that can be true: nothing between them comes out as 0 or infinite."


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decides how quick a model is. A measurement holds where all of it is the same."""

    model: str
    "As the worker's file names it: a path, a name, an address."

    weights_hash: str
    engine: str
    "Name and version."

    context_tokens: int
    slots: int
    "How many the engine was opened with."

    threads: int
    "As the worker's file says; 0: the engine's own choice."

    machine: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One model, measured once."""

    circumstances: Circumstances
    measured_at: int
    "Seconds since the Unix epoch."

    levels: tuple[Level, ...]
    "In ascending order, that of one request first."

    slots: int | None = None
    "How many are worth having; None if that was not looked for."


Measurements = Mapping[str, Measurement]
"By the models' names."


def read_measurements(folder: Path) -> dict[str, Measurement]:
    """Read what was measured, if it can be read."""
    try:
        data = private_files.read(folder / FILE)
        found = msgspec.json.decode(data, type=dict[str, Measurement])
    except (FileNotFoundError, ConfigurationError, msgspec.DecodeError, RecursionError):
        return {}
    return {name: each for name, each in found.items() if _makes_sense(each)}


def write_measurements(folder: Path, measured: Measurements) -> None:
    """Write what was measured beside what the file has of other models. Not for two processes at a time.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(f"cannot make {folder}: {exc.strerror}") from exc
    data = msgspec.json.format(msgspec.json.encode({**read_measurements(folder), **measured}))
    private_files.replace(folder / FILE, data)


def _makes_sense(measured: Measurement) -> bool:
    """Whether rates can be told by it: a file by another hand may say anything."""
    concurrencies = [level.concurrency for level in measured.levels]
    return (
        concurrencies[:1] == [1]
        and concurrencies == sorted({*concurrencies})
        and concurrencies[-1] <= SLOTS_MAX
        and all(_is_rate(level.prefill) for level in measured.levels)
        and all(level.decode is None or _is_rate(level.decode) for level in measured.levels)
        and (measured.slots is None or measured.slots in range(1, SLOTS_MAX + 1))
    )


def _is_rate(rate: float) -> bool:
    least, most = RATES
    return least <= rate <= most
