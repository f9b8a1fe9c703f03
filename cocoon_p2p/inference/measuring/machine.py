"""What machine this is, as far as it decides how quick an engine is. Linux says; others say less."""

import os
import platform
from pathlib import Path

_CPU = Path("/proc/cpuinfo")
_CARDS = Path("/proc/driver/nvidia/gpus")
_TEXT_MAX = 200


def describe_machine(cpu: Path = _CPU, cards: Path = _CARDS) -> str:
    """Name the processor, how many of them this process may use, and the NVIDIA cards."""
    parts = [f"{_field(cpu, 'model name') or platform.processor() or platform.machine()} x {_processors()}"]
    folders = sorted(cards.iterdir()) if cards.is_dir() else []
    parts += [_field(folder / "information", "Model") or "an NVIDIA card" for folder in folders]
    return ", ".join(parts)


def _processors() -> int:
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def _field(file: Path, name: str) -> str:
    """Give the first value of a `name : value` line."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    values = (line.partition(":") for line in lines)
    return next((" ".join(value.split())[:_TEXT_MAX] for key, _, value in values if key.strip() == name), "")
