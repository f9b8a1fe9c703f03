"""What a node's file need not say itself: network and chain by the network's own file, the payout by one key.

Both are laid into the tables before these are judged, so that whoever reads the settings knows one place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec

from cocoon_p2p.config.network_file import NamedBy, address_fault, read_network_file
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.strict_toml import ConfigurationMistakes, Where

Found = list[tuple[Where, str]]

_BOOTSTRAP: Where = ("network", "bootstrap")


@dataclass(frozen=True, slots=True)
class Named:
    """What came of looking for a network's file.

    Attributes:
        mistakes: In the node's file.
        others: What is wrong with the network's.
        origins: Where each key that was laid in stands there.
        is_known: Whether it can be told which network is meant, and whether a chain stands behind it.
    """

    mistakes: Found = field(default_factory=list[tuple[Where, str]])
    others: Sequence[ConfigurationError] = ()
    origins: Mapping[Where, str] = field(default_factory=dict[Where, str])
    is_known: bool = True


def take_network(kind: type, tables: dict[str, Any], path: Path) -> Named:
    """Lay what the network's file says into a node's tables, if `bootstrap` names one.

    Args:
        kind: What describes the node's file.
        tables: As they were written, changed here.
        path: The node's file.
    """
    network = tables.get("network")
    if not isinstance(network, dict):
        return Named()
    network = cast("dict[str, Any]", network)
    match network.get("bootstrap"):
        case str(named):
            return _lay_named(kind, tables, network, path.parent / named if named else None)
        case list():
            addresses = cast("list[object]", network["bootstrap"])
            return Named(_address_mistakes(addresses) + _missing(network, tables))
        case _:
            return Named(_missing(network, tables))


def _lay_named(kind: type, tables: dict[str, Any], network: dict[str, Any], file: Path | None) -> Named:
    network["bootstrap"] = []
    if file is None:
        text = "`bootstrap` is empty: name the network's file, or list its bootstrap nodes' addresses"
        return Named([(_BOOTSTRAP, text)], is_known=False)
    try:
        found = read_network_file(file)
    except ConfigurationMistakes as exc:
        return Named([(_BOOTSTRAP, "`bootstrap`: the network's file is wrong")], [exc], is_known=False)
    except ConfigurationError as exc:
        return Named([(_BOOTSTRAP, f"`bootstrap`: {exc}")], is_known=False)
    laid: dict[Where, object] = {
        ("network", "name"): found.facts.network.name,
        ("network", "bootstrap"): found.facts.network.bootstrap,
    }
    has_chain = "chain" in {section.name for section in msgspec.structs.fields(kind)}
    if has_chain and found.facts.chain is not None:
        laid["chain", "network"] = found.facts.chain.network
        laid["chain", "servers"] = found.servers
    return _lay(tables, laid, found)


def _lay(tables: dict[str, Any], laid: Mapping[Where, object], found: NamedBy) -> Named:
    mistakes: Found = []
    origins: dict[Where, str] = {}
    for where, value in laid.items():
        section, key = where
        table = tables.setdefault(section, {})
        if not isinstance(table, dict):
            continue
        written = cast("dict[str, Any]", table).get(key)
        if written is None or where == _BOOTSTRAP:
            table[key] = value
            origins[where] = found.origin(where)
        elif written != value and key != "servers":
            # Servers of one's own are one's own business: they are asked, and not believed.
            text = f"`{key}` is {value!r} by {found.path.name}, which `bootstrap` names: leave it out here"
            mistakes.append((where, text))
    return Named(mistakes, origins=origins)


def _missing(network: Mapping[str, Any], tables: Mapping[str, Any]) -> Found:
    """Name what a file must say that names no network's file."""
    found: Found = []
    if "name" not in network:
        text = "`name` is missing in [network]: write it, or have `bootstrap` name the network's file"
        found.append((("network", ""), text))
    chain = tables.get("chain")
    if isinstance(chain, dict):
        missing = [key for key in ("network", "servers") if key not in chain]
        found += [(("chain", ""), f"`{key}` is missing in [chain]") for key in missing]
    return found


def _address_mistakes(addresses: Sequence[object]) -> Found:
    faults = [address_fault(address) for address in addresses if isinstance(address, str)]
    return [(_BOOTSTRAP, f"`bootstrap`: {fault}") for fault in faults if fault]


def take_payout(tables: dict[str, Any], origins: dict[Where, str], *, is_network_known: bool) -> Found:
    """Lay a worker's `payout` into `[wallet]`, and say whether one is missing, or there are two.

    Args:
        tables: As they were written, changed here.
        origins: Where each key was set, changed here.
        is_network_known: Whether it is told which network is meant: one without a chain pays nobody.
    """
    worker, wallet = tables.get("worker"), tables.setdefault("wallet", {})
    if not isinstance(worker, dict) or not isinstance(wallet, dict):
        return []
    worker, wallet = cast("dict[str, Any]", worker), cast("dict[str, Any]", wallet)
    here, there = worker.get("payout"), wallet.get("payout")
    if here and there and here != there:
        return [(("worker", "payout"), "`payout` is another one in [wallet]: write it once")]
    if isinstance(here, str) and here and not there:
        wallet["payout"] = here
        origins["wallet", "payout"] = origins.get(("worker", "payout"), "")
    is_paid = "chain" in tables or (not is_network_known and "payout" in worker)
    if not is_paid or here or there or wallet.get("file"):
        return []
    return [(("worker", "payout"), "`payout` is missing in [worker]: a TON address, where you are paid")]
