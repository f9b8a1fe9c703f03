"""The names that mean the same bytes to everybody: entries that come along, and the user's own.

The user's lie in a folder (`COCOON_CATALOGUE`, else `cocoon/catalogue` in the configuration folder of
XDG), one `.toml` file an entry. Two entries of one name are refused unless they mean the same bytes.
"""

from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.models.entry import ModelEntry, read_entry

ENTRIES_MAX: Final = 4096


class Catalogue:
    """Entries by their names."""

    def __init__(self, entries: Mapping[str, ModelEntry]) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[ModelEntry]:
        return iter(self._entries.values())

    def find(self, name: str) -> ModelEntry | None:
        return self._entries.get(name)

    def check(self, name: str, weights: bytes) -> None:
        """Refuse bytes that the catalogue's name does not stand for. Names that it lacks stand for any.

        Raises:
            ConfigurationError: The catalogue means others.
        """
        entry = self._entries.get(name)
        if entry is not None and entry.weights_hash != weights:
            raise ConfigurationError(
                f"the catalogue means another model by this name (name={name} "
                f"expected={entry.weights_hash.hex()[:16]} found={weights.hex()[:16]})",
                hint="give this model a name of its own, or pull the one that is meant",
            )


def catalogue_folder(environment: Mapping[str, str]) -> Path:
    """Say where the user's entries lie."""
    if named := environment.get("COCOON_CATALOGUE"):
        return Path(named).expanduser().absolute()
    folder = Path(environment.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return (folder if folder.is_absolute() else Path("~/.config").expanduser()) / "cocoon" / "catalogue"


def load_catalogue(folder: Path | None) -> Catalogue:
    """Read the entries that come along, and those in a folder, if there is one. Blocks.

    Raises:
        ConfigurationError: Entries cannot be read, or two mean different bytes by one name: all of it.
    """
    files = _builtin() + (sorted(folder.glob("*.toml")) if folder is not None and folder.is_dir() else [])
    if len(files) > ENTRIES_MAX:
        raise ConfigurationError(f"too many entries in the catalogue (path={folder} max={ENTRIES_MAX})")
    entries = dict[str, ModelEntry]()
    trouble = list[str]()
    for file in files:
        try:
            entry = read_entry(file)
        except ConfigurationError as exc:
            trouble.append(str(exc))
            continue
        known = entries.setdefault(entry.name, entry)
        if known.weights_hash != entry.weights_hash:
            trouble.append(f"{file}: another entry means other bytes by the name {entry.name}")
    if trouble:
        raise ConfigurationError("\n".join(trouble), hint="correct the catalogue's entries")
    return Catalogue(entries)


def _builtin() -> list[Path]:
    folder = resources.files("cocoon_p2p.inference.models") / "entries"
    if not isinstance(folder, Path) or not folder.is_dir():
        raise ConfigurationError(
            f"the catalogue is missing (path={folder})",
            hint="install cocoon-p2p again, as a wheel or from its sources",
        )
    return sorted(folder.glob("*.toml"))
