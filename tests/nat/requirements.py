"""What a machine needs so that networks can be built on it, and how to get what it lacks."""

import os
import secrets
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

TUN = Path("/dev/net/tun")

_PROGRAMS = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables"}
"Each program, and Debian's and Ubuntu's package that has it."

_OPTIONS = "CONFIG_NF_TABLES, NF_CONNTRACK, NFT_CT, NFT_NAT, NFT_MASQ, NFT_NUMGEN"

_RULES = """
table ip probe {
  chain to_outside { type nat hook postrouting priority srcnat; masquerade random,fully-random; }
  chain lossy { type filter hook prerouting priority raw; numgen random mod 100 < 1 drop; }
  chain guard { type filter hook forward priority filter; ct state established accept; }
}
"""


@cache
def missing() -> str | None:
    """Say what this machine lacks and how to get it; None: nothing."""
    if sys.platform != "linux":
        return "network namespaces are Linux's; run these tests there"
    if os.geteuid() != 0:
        return "building networks needs root: sudo .venv/bin/python -m pytest tests/nat"
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            return f"`{program}` is not installed; Debian, Ubuntu: apt install {package}"
    try:
        TUN.open("r+b", buffering=0).close()
    except OSError as exc:
        return f"{TUN} cannot be opened ({exc.strerror}): modprobe tun; in a container: --device {TUN}"
    return _kernel_lacks()


def _kernel_lacks() -> str | None:
    """Try each thing of the kernel's once, in a namespace that is gone afterwards."""
    name = f"cocoon-probe-{secrets.token_hex(4)}"
    if fault := _fault("ip", "netns", "add", name):
        return f"no network namespaces here ({fault}); in a container: --privileged"
    try:
        within = ("ip", "netns", "exec", name)
        for subject, command in {
            "virtual links (CONFIG_VETH)": ("ip", "link", "add", "one", "type", "veth", "peer", "two"),
            "a rate (CONFIG_NET_SCH_TBF)": _shaped("one"),
        }.items():
            if fault := _fault(*within, *command):
                return f"this kernel has no {subject}: {fault}"
        if fault := _fault(*within, "nft", "-f", "-", given=_RULES):
            return f"this kernel has no nf_tables with NAT ({_OPTIONS}): {fault}"
    finally:
        _fault("ip", "netns", "del", name)
    return None


def _shaped(device: str) -> tuple[str, ...]:
    return ("tc", "qdisc", "add", "dev", device, "root", "tbf",
            "rate", "1mbit", "burst", "32kb", "latency", "100ms")  # fmt: skip


def _fault(*command: str, given: str = "") -> str | None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip().split("\n")[0]
