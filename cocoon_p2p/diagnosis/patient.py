"""Whom the checks look at."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cocoon_p2p.config import BootstrapFile, Loaded, ProxyFile, WorkerFile
from cocoon_p2p.config.folder import CONTROL_SOCKET
from cocoon_p2p.node.self_checks import Insides
from cocoon_p2p.overview.peers import Role
from cocoon_p2p.overview.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Patient:
    """A node, by its file.

    Attributes:
        loaded: The file, of any role.
        now: The time, in seconds since the Unix epoch, by this machine's clock.
        snapshot: What the running node shows of itself; None: it does not run.
        insides: What it lets its own checks look at; None: it is looked at from outside.
    """

    loaded: Loaded[Any]
    now: Callable[[], float]
    snapshot: Snapshot | None = None
    insides: Insides | None = None

    @property
    def role(self) -> Role:
        """Say what it is."""
        match self.loaded.settings:
            case WorkerFile():
                return "worker"
            case ProxyFile():
                return "proxy"
            case BootstrapFile():
                return "bootstrap"
            case _:
                return "client"

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.loaded.data_directory

    @property
    def control_socket(self) -> Path:
        """Where it answers while it runs."""
        return self.data / CONTROL_SOCKET

    def section(self, name: str) -> Any:
        """Give a section of its file; None where its role has none, or it was left out."""
        return getattr(self.loaded.settings, name, None)
