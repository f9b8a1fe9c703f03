"""`cocoon init ROLE`: the file that a node needs, with what only its owner can say left open."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cocoon_p2p.cli.node_folder import load_any
from cocoon_p2p.errors import ConfigurationError

_ROLES = ("worker", "proxy", "bootstrap", "client")


@click.command()
@click.argument("role", type=click.Choice(_ROLES))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--join",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of another node of the network: its name, bootstraps and chain are taken over.",
)
@click.option("--model", default="", help="What a worker serves (`demo`, a file, a pulled model's name).")
@click.option("--payout", default="", help="The TON address where the node is paid.")
def init(role: str, file: Path | None, join: Path | None, model: str, payout: str) -> None:
    """Write the file of a worker, proxy, bootstrap node or client; by default ROLE.toml in this folder.

    What is left to fill in is empty in it, and `cocoon config check` says so. Nothing is overwritten.
    """
    path = file or Path(f"{role}.toml")
    around = _Around() if join is None else _around(join, path)
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
    "mainnet, testnet or local; empty where no chain stands behind the channels."

    servers: str = ""


def _around(join: Path, path: Path) -> _Around:
    loaded = load_any(join)
    network, chain = loaded.settings.network, getattr(loaded.settings, "chain", None)
    around = _Around(network.name, tuple(network.bootstrap))
    if chain is None:
        return around
    servers = loaded.resolve(chain.servers)
    # Relative where it lies below the new file: the two may then move together.
    folder = path.resolve().parent
    told = servers.relative_to(folder) if servers.is_relative_to(folder) else servers
    return _Around(around.name, around.bootstrap, chain.network, str(told))


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError as exc:
        raise ConfigurationError(f"{path} is there already", hint="name another file, or edit it") from exc
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path}: {exc.strerror}", hint="name another file") from exc


def _next(role: str, path: Path, around: _Around, *, model: str, payout: str) -> list[str]:
    is_open = {
        "[network] name": not around.name,
        "[network] bootstrap": not around.bootstrap and role != "bootstrap",
        "[worker] model": role == "worker" and not model,
        "[wallet] payout": role == "worker" and bool(around.chain) and not payout,
    }
    steps = [f"fill in {key}" for key, empty in is_open.items() if empty]
    if around.chain and role in {"proxy", "client"}:
        steps.append(f"cocoon wallet new {path.with_name(f'{role}.wallet')} --network {around.chain}")
    steps.append(f"cocoon config check {path}")
    steps.append(f"cocoon chat --config {path}" if role == "client" else f"cocoon {role} {path}")
    return steps


# ---------------------------------------------------------------------- the files


def _worker(around: _Around, model: str, payout: str) -> str:
    wallet = f"[wallet]\npayout = {_spell(payout)}  # the address where you are paid"
    return f"""\
# A worker: runs a model and is paid by the token. It only dials out: no port has to be opened.

[worker]
model = {_spell(model)}  # a model that `cocoon model pull` fetched, a GGUF file, or "demo"

{_network(around)}{_chain(around, wallet)}
[data]
directory = "worker-data"  # its key and its ledger: back it up
"""


def _proxy(around: _Around, _model: str, payout: str) -> str:
    wallet = '[wallet]\nfile = "proxy.wallet"  # pays workers\' channels and fees'
    paid = f"\npayout = {_spell(payout)}" if payout else ""
    return f"""\
# A proxy: sells what its workers do, keeps a commission, and cannot read what passes through it.

[proxy]
commission_basis_points = 500  # 5 %, on top of what the worker earns

{_network(around)}listen = ["/ip4/0.0.0.0/tcp/4002"]
{_chain(around, wallet + paid)}
[data]
directory = "proxy-data"  # its key and its ledger: back it up
"""


def _bootstrap(around: _Around, _model: str, _payout: str) -> str:
    return f"""\
# A bootstrap node: the first address of the network, which everybody else's file names.

[bootstrap]

{_network(around)}listen = ["/ip4/0.0.0.0/tcp/4001"]

[data]
directory = "bootstrap-data"  # its key: back it up, its peer id stands in other files
"""


def _client(around: _Around, _model: str, payout: str) -> str:
    wallet = '[wallet]\nfile = "client.wallet"  # what answers are paid from'
    paid = f"\npayout = {_spell(payout)}" if payout else ""
    return f"""\
# A client: buys answers.

[client]
trust = "tdx"  # what must be proven about a worker's machine; "open": nothing
max_cost = 100_000_000  # the most that one answer may cost, in nanoTON

{_network(around)}{_chain(around, wallet + paid)}
[data]
directory = "client-data"  # its key and its ledger: back it up
"""


_TEXTS = {"worker": _worker, "proxy": _proxy, "bootstrap": _bootstrap, "client": _client}


def _network(around: _Around) -> str:
    return f"""\
[network]
name = {_spell(around.name)}  # all nodes of one network write the same
bootstrap = {_spell(list(around.bootstrap))}  # who is dialled first: /dns4/HOST/tcp/4001/p2p/12D3...
"""


def _chain(around: _Around, wallet: str) -> str:
    if not around.chain:
        return "\n# No [chain]: what is owed is written down by both sides, and no money moves.\n"
    return f"""
[chain]
network = {_spell(around.chain)}
servers = {_spell(around.servers)}  # TON's global configuration with its lite servers

{wallet}
"""


def _spell(value: Any) -> str:
    from cocoon_p2p.config.reference import spell_toml

    return spell_toml(value)
