"""The folder in which models lie: for each its record, its files, and who uses it.

    models/
      qwen3-0.6b-q8_0.toml       which bytes came, in the catalogue's form; written last
      qwen3-0.6b-q8_0/           the model's files, and `.part`s of what is still coming
      .locks/qwen3-0.6b-q8_0     held by who changes the model (alone) or serves it (with others)

A folder without a record is a model that is not whole. Locks are the kernel's: a crash lets go.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.models.entry import NAME_PATTERN, ModelEntry, read_entry, spell_entry
from cocoon_p2p.inference.models.part import flush_folder

RECORD: Final = ".toml"
LOCK_TRIES: Final = 5
LOCK_PAUSE_SECONDS: Final = 0.05
"Who only asks who uses a model holds its lock for a moment."

_USERS_MAX_BYTES: Final = 64 * 1024
_NAME = re.compile(NAME_PATTERN)


def default_models_folder(environment: Mapping[str, str]) -> Path:
    """Say where models lie: `COCOON_MODELS`, else in the user's data folder (XDG)."""
    if named := environment.get("COCOON_MODELS"):
        return Path(named).expanduser().absolute()
    data = Path(environment.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    # A relative path there is to be ignored (XDG Base Directory Specification).
    return (data if data.is_absolute() else Path("~/.local/share").expanduser()) / "cocoon" / "models"


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies in the folder under one name."""

    name: str
    entry: ModelEntry | None
    "None: it is not whole, or its record cannot be read."

    trouble: str = ""


class ModelFolder:
    """Models on this machine. All methods block, for little.

    Args:
        path: The folder; made when the first model comes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self, name: str) -> Path:
        """Where a model's files lie."""
        return self.path / _checked(name)

    def record(self, name: str) -> Path:
        return self.path / (_checked(name) + RECORD)

    def find(self, name: str) -> ModelEntry | None:
        """Read a model's record; None where there is none.

        Raises:
            ConfigurationError: It cannot be read, or is another model's.
        """
        record = self.record(name)
        if not record.exists():
            return None
        entry = read_entry(record)
        if entry.name != name:
            raise ConfigurationError(
                f"the record names another model (file={record} name={entry.name})",
                hint=f"name the file {entry.name}{RECORD}, or pull the model again",
            )
        return entry

    def main_path(self, entry: ModelEntry) -> Path:
        """What an engine is given of a model: its GGUF file, or its folder."""
        return self.files(entry.name) / entry.main_file

    def keep(self, entry: ModelEntry) -> None:
        """Write a model's record: from now on it is whole."""
        record = self.record(entry.name)
        beside = record.with_name(f".{record.name}.new")
        with beside.open("w", encoding="utf-8") as file:
            file.write(spell_entry(entry))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(record)
        flush_folder(self.path)

    def remove(self, name: str) -> None:
        """Take a model away, its record first: what is half removed is not whole.

        Raises:
            ConfigurationError: It lies elsewhere, behind a link, or is not this user's.
        """
        files, record = self.files(name), self.record(name)
        if files.is_symlink() or record.is_symlink():
            raise ConfigurationError(
                f"the model lies elsewhere, behind a link (path={files})",
                hint="remove the link and what it leads to by hand",
            )
        try:
            record.unlink(missing_ok=True)
            if files.exists():
                shutil.rmtree(files)
        except OSError as exc:
            raise ConfigurationError(
                f"cannot remove {exc.filename}: {exc.strerror}", hint="the folder must be this user's own"
            ) from exc

    def __iter__(self) -> Iterator[Kept]:
        """Go through what is there, in the order of the names."""
        if not self.path.is_dir():
            return
        names = {child.stem if child.suffix == RECORD else child.name for child in self.path.iterdir()}
        for name in sorted(name for name in names if _NAME.fullmatch(name)):
            try:
                entry = self.find(name)
            except ConfigurationError as exc:
                yield Kept(name, None, str(exc))
                continue
            if entry is not None or self.files(name).is_dir():
                yield Kept(name, entry, "" if entry else "not whole: its download did not end")

    # ------------------------------------------------------------ who uses it

    @contextmanager
    def change(self, name: str) -> Iterator[None]:
        """Be the only one to change a model while the block runs.

        Raises:
            ConfigurationError: A worker serves it, or another process changes it.
        """
        with self._locked(name, fcntl.LOCK_EX) as descriptor:
            if descriptor is None:
                users = ", ".join(self.users(name))
                raise ConfigurationError(
                    f"the model is in use (model={name} by={users})"
                    if users
                    else f"another process pulls, removes or serves the model (model={name})",
                    hint="stop the worker first" if users else "wait until that is done",
                )
            os.ftruncate(descriptor, 0)
            yield

    @contextmanager
    def use(self, name: str, who: str) -> Iterator[None]:
        """Keep a model from being changed while the block runs.

        Args:
            name: The model.
            who: Who uses it, for whoever would change it.

        Raises:
            ConfigurationError: It is being pulled or removed right now.
        """
        if not os.access(self.path, os.W_OK):
            # Somebody else's folder: they know whom they serve it to.
            yield
            return
        with self._locked(name, fcntl.LOCK_SH) as descriptor:
            if descriptor is None:
                raise ConfigurationError(
                    f"the model is being pulled or removed (model={name})", hint="wait until that is done"
                )
            if os.fstat(descriptor).st_size > _USERS_MAX_BYTES // 2:
                # Of many who came and went.
                os.ftruncate(descriptor, 0)
            line = f"{os.getpid()} {who if who.isprintable() else '?'}\n"
            os.write(descriptor, line.encode())
            yield

    def users(self, name: str) -> list[str]:
        """Say who uses a model, as far as can be told: those who said so, and still run."""
        with self._locked(name, fcntl.LOCK_EX) as descriptor:
            if descriptor is not None:
                return []
        with self._lock_path(name).open(encoding="utf-8", errors="replace") as file:
            lines = file.read(_USERS_MAX_BYTES).splitlines()
        said = dict(line.split(" ", 1) for line in lines if " " in line)
        return [f"{who} (process {pid})" for pid, who in said.items() if _runs(pid)]

    def _lock_path(self, name: str) -> Path:
        return self.path / ".locks" / _checked(name)

    @contextmanager
    def _locked(self, name: str, how: int) -> Iterator[int | None]:
        """Hold a model's lock; None where somebody else does."""
        path = self._lock_path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise ConfigurationError(
                f"cannot use the folder of models: {exc.strerror} (path={path})",
                hint="name a folder of this user's own: COCOON_MODELS, or `models` in [worker]",
            ) from exc
        try:
            yield descriptor if _lock(descriptor, how) else None
        finally:
            os.close(descriptor)


def is_model_name(text: str) -> bool:
    """Whether a text could be a model's name. What has a slash, or ends as a GGUF file does, is a path."""
    return _NAME.fullmatch(text) is not None and not text.endswith(".gguf")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or name.endswith(RECORD):
        raise ConfigurationError(
            f"not a model's name: {name!r}",
            hint="names are of a-z, 0-9, dot, dash and underscore; files elsewhere are yours to look after",
        )
    return name


def _lock(descriptor: int, how: int) -> bool:
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            return True
    return False


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
