"""The pinned Tolk compiler, where there is Node and the compiler was fetched (`make contract-tools`)."""

import shutil
import subprocess
import tempfile
from pathlib import Path

CONTRACT = Path(__file__).parents[3] / "payments" / "contract"
SOURCE = CONTRACT / "channel.tolk"
BUILD = CONTRACT / "build"


def missing(package: str = "@ton/tolk-js") -> str:
    """Say what a build lacks here; nothing if it lacks nothing."""
    if shutil.which("node") is None:
        return "there is no Node (Debian: apt install nodejs npm), then: make contract-tools"
    if not (BUILD / "node_modules" / package / "package.json").exists():
        return f"{package} is not fetched: make contract-tools"
    return ""


def run_node(script: str, *arguments: str) -> str:
    """Run a script of the build folder; give what it printed."""
    command = ["node", str(BUILD / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def compile_tolk(*sources: Path) -> list[bytes]:
    """Compile files, each to its code, a bag of cells."""
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / f"{number}.boc" for number in range(len(sources))]
        paths = [str(path) for pair in zip(sources, outs, strict=True) for path in pair]
        run_node("compile.js", *paths)
        return [out.read_bytes() for out in outs]
