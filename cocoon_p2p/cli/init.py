"""`cocoon init ROLE`: the file that a node needs, with what only its owner can say left open."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cocoon_p2p.cli.node_folder import load_any, role_of
from cocoon_p2p.config import Loaded
from cocoon_p2p.errors import ConfigurationError, Unavailable

_KINDS = ("worker", "proxy", "bootstrap", "client", "network")


@click.command()
@click.argument("role", type=click.Choice(_KINDS))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--join",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The network's file, or one of another node there: its name, bootstraps and chain are taken over.",
)
@click.option("--model", default="", help="What a worker serves (`demo`, a file, a pulled model's name).")
@click.option("--payout", default="", help="The TON address where the node is paid.")
def init(role: str, file: Path | None, join: Path | None, model: str, payout: str) -> None:
    """Write the file of a worker, proxy, bootstrap node or client; by default ROLE.toml in this folder.

    What is left to fill in is empty in it, and `cocoon config check` says so. Nothing is overwritten.

    With `network`, write the file that whoever starts a network publishes: nodes name it as `bootstrap`.
    --join names the file of a node of it; a bootstrap node must be running, to say where it is.
    """
    path = file or Path(f"{role}.toml")
    around = _Around() if join is None else _around(join, path, role)
    _write_new(path, _TEXTS[role](around, model, payout))
    click.echo(f"{path}: written", err=True)
    for step in _next(role, path, around, model=model, payout=payout):
        click.echo(f"  {step}", err=True)


@dataclass(frozen=True, slots=True)
class _Around:
    """What the nodes of a network have in common."""

    name: str = ""
    bootstrap: tuple[str, ...] = ()
    chain: str = ""
    "mainnet, testnet or local; empty where no chain stands behind the channels, or none is known yet."

    servers: str = ""
    file: str = ""
    "The network's file, which says all of that; empty: this file says it itself."


def _around(join: Path, path: Path, role: str) -> _Around:
    from cocoon_p2p.config.network_file import is_network_file, read_network_file

    if is_network_file(join):
        found = read_network_file(join)
        facts, told = found.facts, _seen_from(path, found.path)
        name, bootstrap = facts.network.name, tuple(facts.network.bootstrap)
        if facts.chain is None:
            return _Around(name, bootstrap, file=told)
        servers = _seen_from(path, Path(found.servers))
        return _Around(name, bootstrap, facts.chain.network, servers, file=told)
    loaded = load_any(join)
    network, chain = loaded.settings.network, getattr(loaded.settings, "chain", None)
    founds = role == "network" and role_of(join) == "bootstrap"
    bootstrap = (*(_where(join, loaded) if founds else ()), *network.bootstrap)
    if chain is None:
        return _Around(network.name, bootstrap)
    servers = _seen_from(path, loaded.resolve(chain.servers))
    return _Around(network.name, bootstrap, chain.network, servers)


def _seen_from(path: Path, named: Path) -> str:
    """Name a file relatively where it lies below the new one: the two may then move together."""
    folder = path.resolve().parent
    return str(named.relative_to(folder) if named.is_relative_to(folder) else named)


def _where(join: Path, loaded: Loaded[Any]) -> Sequence[str]:
    """Ask a running bootstrap node for its addresses: what it listens on is not where others find it."""
    from cocoon_p2p.control import ask
    from cocoon_p2p.node import CONTROL_SOCKET
    from cocoon_p2p.overview.peers import PEERS, ShowPeers

    try:
        return ask(loaded.data_directory / CONTROL_SOCKET, PEERS, ShowPeers()).health.addresses
    except Unavailable as exc:
        raise Unavailable(
            f"only a running bootstrap node knows where it is: {exc}",
            hint=f"start it: cocoon bootstrap {join}",
        ) from exc


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError as exc:
        raise ConfigurationError(f"{path} is there already", hint="name another file, or edit it") from exc
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path}: {exc.strerror}", hint="name another file") from exc


def _next(role: str, path: Path, around: _Around, *, model: str, payout: str) -> list[str]:
    is_joined = bool(around.bootstrap)
    is_open = {
        "[worker] model": role == "worker" and not model,
        "[worker] payout": role == "worker" and not payout and (bool(around.chain) or not is_joined),
        "[network] name": role in {"bootstrap", "network"} and not around.name,
        "[network] bootstrap": role != "bootstrap" and not is_joined,
    }
    steps = [f"fill in {key}" for key, empty in is_open.items() if empty]
    if role == "network":
        beside = f", and {around.servers} beside it" if around.servers else ""
        return [*steps, f"publish {path}{beside}", f"others join with: cocoon init worker --join {path}"]
    if around.chain and role in {"proxy", "client"}:
        steps.append(f"cocoon wallet new {path.with_name(f'{role}.wallet')} --network {around.chain}")
    steps.append(f"cocoon config check {path}")
    steps.append(f"cocoon chat --config {path}" if role == "client" else f"cocoon {role} {path}")
    return steps


# ---------------------------------------------------------------------- the files


def _worker(around: _Around, model: str, payout: str) -> str:
    return f"""\
# A worker: runs a model and is paid by the token. It only dials out: no port has to be opened.
# These three keys are all it needs; `cocoon config show` prints every other one, with what it means.

[worker]
model = {_spell(model)}  # a model that `cocoon model pull` fetched, a GGUF file, a server's URL, or "demo"
payout = {_spell(payout)}  # the TON address where you are paid

{_network(around)}{_chain(around)}
[data]
directory = "worker-data"  # its key and its ledger: back it up
"""


def _proxy(around: _Around, _model: str, payout: str) -> str:
    return f"""\
# A proxy: sells what its workers do, keeps a commission, and cannot read what passes through it.

[proxy]
commission_basis_points = 500  # 5 %, on top of what the worker earns

{_network(around)}listen = ["/ip4/0.0.0.0/tcp/4002"]
{_chain(around)}{_wallet(around, "proxy", "pays workers' channels and fees", payout)}
[data]
directory = "proxy-data"  # its key and its ledger: back it up
"""


def _bootstrap(around: _Around, _model: str, _payout: str) -> str:
    network = _network(around) if around.file else _said(around)
    return f"""\
# A bootstrap node: the first address of the network. Once it runs, `cocoon init network --join` with this
# file writes what everybody else's file names.

[bootstrap]

{network}listen = ["/ip4/0.0.0.0/tcp/4001"]

[data]
directory = "bootstrap-data"  # its key: back it up, its peer id stands in other files
"""


def _client(around: _Around, _model: str, payout: str) -> str:
    return f"""\
# A client: buys answers.

[client]
trust = "tdx"  # what must be proven about a worker's machine; "open": nothing
max_cost = 100_000_000  # the most that one answer may cost, in nanoTON

{_network(around)}{_chain(around)}{_wallet(around, "client", "what answers are paid from", payout)}
[data]
directory = "client-data"  # its key and its ledger: back it up
"""


def _founded(around: _Around, _model: str, _payout: str) -> str:
    return f"""\
# A network: publish this file, with what it names beside it. A node's file names it as `bootstrap`.

{_said(around)}{_chain(around)}"""


_TEXTS = {
    "worker": _worker,
    "proxy": _proxy,
    "bootstrap": _bootstrap,
    "client": _client,
    "network": _founded,
}


def _network(around: _Around) -> str:
    """Write whom to ask first: by the network's file, unless another node's file said it all."""
    if around.bootstrap and not around.file:
        return _said(around)
    return f"""\
[network]
bootstrap = {_spell(around.file)}  # the network's file, as its founder publishes it: name, addresses, chain
"""


def _said(around: _Around) -> str:
    return f"""\
[network]
name = {_spell(around.name)}  # all nodes of one network write the same
bootstrap = {_spell(list(around.bootstrap))}  # who is dialled first: /dns4/HOST/tcp/4001/p2p/12D3...
"""


def _chain(around: _Around) -> str:
    if around.file or not around.bootstrap:
        # The network's file says it, or will.
        return ""
    if not around.chain:
        return "\n# No [chain]: what is owed is written down by both sides, and no money moves.\n"
    return f"""
[chain]
network = {_spell(around.chain)}
servers = {_spell(around.servers)}  # TON's global configuration with its lite servers
"""


def _wallet(around: _Around, role: str, why: str, payout: str) -> str:
    if not around.chain:
        return ""
    paid = f"payout = {_spell(payout)}\n" if payout else ""
    return f"""
[wallet]
file = "{role}.wallet"  # {why}
{paid}"""


def _spell(value: Any) -> str:
    from cocoon_p2p.config.reference import spell_toml

    return spell_toml(value)
