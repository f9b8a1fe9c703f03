"""The node that is attacked: `cocoon proxy` in a process of its own, with a bootstrap beside it."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Target:
    """A proxy that listens on loopback."""

    process: subprocess.Popen[bytes]
    network_name: str
    address: str
    log_file: Path

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def resident_bytes(self) -> int:
        """How much memory it holds now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def busy_seconds(self) -> float:
        """How long its main thread, which serves everybody, has been on a processor."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9

    def open_files(self) -> int:
        """How many descriptors it holds now, sockets among them."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@contextmanager
def running_target(place: Path) -> Iterator[Target]:
    """Bring a proxy up, and take it down when the block ends."""
    name = f"demo-{secrets.token_hex(8)}"
    bootstrap, at = _start(place, "bootstrap", name, [])
    try:
        proxy, address = _start(place, "proxy", name, [at])
        try:
            yield Target(proxy, name, address, place / "proxy.log")
        finally:
            _stop(proxy)
    finally:
        _stop(bootstrap)


def _start(place: Path, role: str, network: str, bootstrap: list[str]) -> tuple[subprocess.Popen[bytes], str]:
    file = place / f"{role}.toml"
    listen = json.dumps(["/ip4/127.0.0.1/tcp/0"])
    file.write_text(
        f'[{role}]\n[network]\nname = "{network}"\nlisten = {listen}\nbootstrap = {json.dumps(bootstrap)}\n'
        f'[data]\ndirectory = "{role}-data"\n[log]\nlevel = "warning"\njson = true\n'
    )
    with (place / f"{role}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cocoon_p2p.cli", role, str(file), "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    step = _step(process.stdout, "listening")
    _step(process.stdout, "ready")
    return process, str(step["addresses"][0])


def _step(out: IO[bytes], name: str) -> dict[str, list[str]]:
    for line in out:
        step: dict[str, list[str]] = json.loads(line)
        if step["step"] == name:  # type: ignore[comparison-overlap]  # this one field is text
            return step
    raise AssertionError(f"the node ended before it was {name}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()
