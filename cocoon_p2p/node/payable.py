"""Whether the addresses that a node's file names can be paid: known before anything is started.

The file's vocabulary stands below what knows TON's addresses, so this is asked after it was loaded.
"""

from typing import Any

from cocoon_p2p.config import Loaded, WorkerFile
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.payments.address import GLOBAL_IDS, parse_address
from cocoon_p2p.strict_toml import ConfigurationMistakes, Mistake, locate, read_toml


def check_addresses(loaded: Loaded[Any]) -> None:
    """Refuse a file whose addresses are mistyped, or of another network than its chain.

    Raises:
        ConfigurationMistakes: Some are; each with its place.
    """
    settings, chain = loaded.settings, getattr(loaded.settings, "chain", None)
    if chain is None:
        return
    source, _ = read_toml(loaded.path, what="the node's TOML file")
    mistakes: list[Mistake] = []
    for key in ("payout", "funder", "sweep_to"):
        text = getattr(settings.wallet, key)
        try:
            if text:
                parse_address(text, global_id=GLOBAL_IDS[chain.network])
        except ConfigurationError as exc:
            is_workers = key == "payout" and isinstance(settings, WorkerFile) and settings.worker.payout
            section = "worker" if is_workers else "wallet"
            said = loaded.origins.get((section, key), "")
            by = f"{said}: " if said.startswith("COCOON_") else ""
            place = (0, 0) if by else locate(source, (section, key))
            mistakes.append(Mistake(*place, f"{by}`{key}`: {exc}; {exc.hint}"))
    if mistakes:
        raise ConfigurationMistakes(loaded.path, source, mistakes)
