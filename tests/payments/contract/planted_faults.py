"""Faults planted in the contract, one at a time, each of which the machine must find.

    python -m tests.payments.contract.planted_faults              try them all (some minutes)
    python -m tests.payments.contract.planted_faults --compile    compile them anew; needs Node

The faults are in planted_faults.toml, compiled in planted_faults.json, so that trying them needs no Node.
Where there is one, they are first held equal to what the source compiles to now.
"""

import base64
import json
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from tests.payments.contract.compiler import SOURCE, compile_tolk, missing
from tests.payments.contract.trial import find_fault

COMPILED = Path(__file__).with_suffix(".json")

FAULTS: dict[str, dict[str, str]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())


def plant(name: str) -> str:
    """Give the contract's source with one fault."""
    source, fault = SOURCE.read_text(), FAULTS[name]
    assert source.count(fault["right"]) == 1, f"not exactly once in the contract: {name}"
    return source.replace(fault["right"], fault["wrong"])


def compile_all() -> dict[str, str]:
    """Compile every fault; each one's code as text."""
    with tempfile.TemporaryDirectory() as folder:
        sources = [Path(folder) / f"{number}.tolk" for number in range(len(FAULTS))]
        for source, name in zip(sources, FAULTS, strict=True):
            source.write_text(plant(name))
        codes = compile_tolk(*sources)
    return {name: base64.b64encode(code).decode() for name, code in zip(FAULTS, codes, strict=True)}


def load() -> dict[str, bytes]:
    """Give the committed faults, compiled."""
    return {name: base64.b64decode(code) for name, code in json.loads(COMPILED.read_text()).items()}


def main(arguments: list[str]) -> int:
    if "--compile" in arguments:
        COMPILED.write_text(json.dumps(compile_all(), indent=1) + "\n")
        return 0
    if missing():
        print(f"not compared with the source: {missing()}")
    elif compile_all() != json.loads(COMPILED.read_text()):
        print("planted_faults.json is not what the contract compiles to: run with --compile")
        return 1
    survived = 0
    for name, code in load().items():
        began = time.monotonic()
        found = find_fault(code)
        survived += found is None
        verdict = "SURVIVED" if found is None else f"found: {found}"
        print(f"{time.monotonic() - began:6.1f} s  {name:38} {verdict}", flush=True)
    print(f"{len(FAULTS) - survived} of {len(FAULTS)} found")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
