"""What a person writes to run a node: one TOML file a role, checked whole.

Every mistake is reported at once, each with file, line, column, a caret and, for a
misspelt key, what was probably meant. Any key can be set from the environment instead:
`COCOON_WORKER__MODEL` is `model` in `[worker]`.

The sections below are the whole vocabulary; a default stands beside each key.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, cast, get_args, get_origin

import msgspec

from cocoon_p2p.strict_toml import (
    ConfigurationMistakes,
    Mistake,
    Where,
    locate,
    meant,
    read_toml,
    table_mistakes,
)

NonNegative = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
BasisPoints = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
NetworkName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
Level = Annotated[str, msgspec.Meta(pattern=r"^(debug|info|warning|error)$")]
ChainName = Annotated[str, msgspec.Meta(pattern=r"^(mainnet|testnet|local)$")]
EvidenceName = Annotated[str, msgspec.Meta(pattern=r"^(none|sim|configfs|dstack)$")]
HexKey = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
MirrorUrl = Annotated[str, msgspec.Meta(pattern=r"^https://[^/?#\s]+(/[^?#\s]*)?$", max_length=256)]
TrustName = Annotated[str, msgspec.Meta(pattern=r"^(open|sim|tdx|tdx\+gpu)$")]


SLOTS_UNMEASURED = 4
"Taken where nobody knows yet how many are worth having. Each has the memory of its whole context."


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One table of the file."""


class NetworkSection(Section, frozen=True, kw_only=True):
    """Which network this node belongs to, and how it is reached."""

    name: NetworkName
    bootstrap: list[str] = []
    "Multiaddrs of bootstrap nodes, each ending in `/p2p/<peer id>`."

    listen: list[str] = []
    "Multiaddrs to listen on. A worker or client needs none: it only dials out."

    announce: list[str] = []
    """Multiaddrs that others can dial, where they differ from `listen` (behind a router). Left out: found out
    with other nodes' help."""

    upnp: bool | None = None
    """Have the router at home forward the port of `listen`. Left out: so do a proxy and a bootstrap node that
    listen on private addresses only and announce nothing."""


class ChainSection(Section, frozen=True, kw_only=True):
    """The TON network that stands behind this node's channels; without it, peers' words alone do."""

    network: ChainName
    "mainnet, testnet or local. All nodes that pay each other must name the same."

    servers: str
    "TON's global configuration with its lite servers, a JSON file relative to this one."

    close_delay_seconds: Annotated[int, msgspec.Meta(ge=600, le=(1 << 24) - 1)] = 24 * 3600
    "How long whoever is paid may still claim once a payer closes alone. Shorter ones are not taken."

    claim_above: Positive = 1_000_000_000
    "Vouchers are turned into money when this much is due, in nanoTON."

    claim_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 7
    "And however little is due, this often."


class WalletSection(Section, frozen=True, kw_only=True):
    """Where money comes from, and where it goes."""

    file: str = ""
    "A wallet of `cocoon wallet new`, relative to this file. A worker that is only paid needs none."

    passphrase_file: str = ""
    "The wallet's passphrase, if it has one: a file of mode 0600."

    funder: str = ""
    """An address: without `file`, somebody else's wallet, which puts the money into this node's channels and
    gets the rest of it. This node cannot pay from it."""

    payout: str = ""
    "An address: where this node is paid. Left out: its own wallet."

    deposits_max: NonNegative = 100_000_000_000
    "The most that may lie in channels at once, in nanoTON."

    sweep_to: str = ""
    "An address: what the wallet has beyond `sweep_above` is sent there."

    sweep_above: NonNegative = 50_000_000_000
    "What stays in the wallet, in nanoTON."


class AttestationSection(Section, frozen=True, kw_only=True):
    """How this machine proves itself."""

    evidence: EvidenceName = "none"
    """none; sim (a simulation for demos: INSECURE); configfs (an Intel TDX domain, through the kernel);
    dstack (the same, through dstack's socket)."""

    proxy_trust: TrustName = "open"
    "A worker's: what its proxies must prove. It sends them sealed bytes and counts only."

    worker_trust: TrustName = "open"
    "A proxy's: what a worker must prove before it is offered. Clients ask for more by themselves."


class TrustSection(Section, frozen=True, kw_only=True):
    """What this node takes for proof (docs/trust.md). Without a policy nothing is proven."""

    policy: str = ""
    "A policy file, relative to this one, signed by the keys below."

    keys: list[HexKey] = []
    "Ed25519 keys of those who sign policies, in hexadecimal digits."

    needed: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    "How many of them must have signed."

    mirrors: list[MirrorUrl] = []
    """Where Intel's lists are fetched from (PCCS, API v4), asked in this order. Without one, those of the
    machines to be met must lie in the data folder."""

    demo: bool = False
    "INSECURE: take simulated evidence, as what it is. For demos; instead of a policy."


class DataSection(Section, frozen=True, kw_only=True):
    """Where the node keeps its key and its ledger."""

    ledger: str = ""
    """A PostgreSQL URL, without a password, instead of a file in `directory`. The password goes into
    ~/.pgpass or a service file."""

    directory: str = "data"
    "Relative to the file. Made with mode 0700 when it is missing."


class LogSection(Section, frozen=True, kw_only=True):
    level: Level = "warning"
    json: bool = False


class PriceSection(Section, frozen=True, kw_only=True):
    """nanoTON per 1,000 tokens."""

    prompt: NonNegative = 4_000
    cached: NonNegative | None = None
    "Left out: a quarter of `prompt`. It cannot be more than that."

    completion: NonNegative = 20_000
    reasoning: NonNegative = 20_000


class WorkerSection(Section, frozen=True, kw_only=True):
    model: str = ""
    """What it serves; several models have a `[[model]]` each instead. A GGUF file, relative to this file (a
    path has a slash, or ends in .gguf); the name of a model that `cocoon model pull` fetched; `demo` for the
    built-in demo model; or the address of a server that runs the model, such as http://127.0.0.1:8000
    (section `upstream`)."""

    models: str = ""
    "The folder in which pulled models lie. Left out: COCOON_MODELS, else the user's data folder."

    name: str = ""
    "What clients call the model; by default what its file says."

    slots: Annotated[int, msgspec.Meta(ge=1, le=256)] | Literal["auto"] = 4
    """Requests that are computed at once. auto: as many as `cocoon bench` found to be worth having, 4 until
    it has run."""

    measure_seconds: Annotated[int, msgspec.Meta(ge=0, le=600)] = 4
    """How long a worker measures each model's speed, where `cocoon bench` has not, once it serves nobody.
    0: it does not, and advertises none."""

    context_tokens: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    "Prompt and answer together, a request; 0 takes 4,096, or what the model was trained for if that is less."

    threads: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0
    "CPU threads of each model; 0 takes all cores but one, shared out among the models."

    grant: NonNegative = 20_000_000
    "How much a proxy may owe before its vouchers must cover it, in nanoTON."

    tokens_per_second: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    "No answer comes faster; 0: as fast as it is made. For demonstrations and tests."

    proxies: list[str] = []
    "Multiaddrs of proxies to serve. Empty: those that the network's directory names."

    @property
    def slots_opened(self) -> int:
        """How many slots to open an engine with."""
        return SLOTS_UNMEASURED if self.slots == "auto" else self.slots


class ModelSection(Section, frozen=True, kw_only=True):
    """One of several models that a worker serves, each as `[[model]]`."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    "As `model` in `[worker]`."

    name: str = ""
    "What clients call it; by default what its file says."

    context_tokens: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    threads: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0
    "0: as in `[worker]`, both."

    price_prompt: NonNegative | None = None
    price_cached: NonNegative | None = None
    price_completion: NonNegative | None = None
    price_reasoning: NonNegative | None = None
    "nanoTON per 1,000 tokens. Left out: as in `[price]`."


class ExllamaSection(Section, frozen=True, kw_only=True):
    """How ExLlamaV2 uses the card, where `worker.model` is a folder."""

    cache: Literal["fp16", "q8", "q6", "q4"] = "fp16"
    "Precision of what is kept of a request's tokens: fewer bits, more slots or longer contexts."

    draft: str = "none"
    """Guess tokens and check several in a step. ngram: from what the prompt has said, faster where answers
    repeat it. Else a folder, relative to this file, with a small model of the same vocabulary."""

    lora: list[str] = []
    "Folders of adapters, relative to this file, that change every answer. Such a model is another one."

    tensor_parallel: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    "Cards that each layer is spread over. 0: each layer lies on one, and the model on as many as it takes."


class UpstreamSection(Section, frozen=True, kw_only=True):
    """The server that runs the model, where `worker.model` is its address. It sees prompts in the clear."""

    model: str = ""
    """What it calls the model; may be left out if it has one only. Several with commas between, or `*` for
    all that it has: each is then sold by the server's name for it."""

    api_key_file: str = ""
    "A file of mode 0600 that holds the key it asks for."

    weights: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$")] = ""
    """What `cocoon model hash` gives for the files that the server runs: the worker's word, as it cannot see
    them. Without it nobody who asks for certain weights is served."""


class ProxySection(Section, frozen=True, kw_only=True):
    commission_basis_points: BasisPoints = 500
    "Hundredths of a percent, on top of what the worker earns."

    grant: NonNegative = 0
    "How much a client that is a stranger may owe, in nanoTON."

    channel_capacity: Positive = 1_000_000_000
    "Of each channel that this proxy opens to a worker, in nanoTON; topped up by as much."

    open_after: NonNegative = 10_000_000
    "A worker gets a channel on the chain once it has earned this much on its own grant, in nanoTON."

    channels_max: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64
    "Channels to workers that are open on the chain at once."

    asks_per_second: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 20
    "How often one client may ask without buying: price questions, and what is refused or cost nothing."


class BootstrapSection(Section, frozen=True, kw_only=True):
    """A bootstrap node needs nothing but a place to listen."""

    relay: bool = True
    "Whether peers that nobody can dial are reached through this node, within the limits below."

    relay_reservations: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 256
    "How many peers may be reached through it."

    relay_circuits: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 256
    "Connections that it carries at once."

    relay_minutes: Annotated[int, msgspec.Meta(ge=2, le=1440)] = 30
    relay_megabytes: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 64
    "When it ends one: after so long, or so much in one direction."

    relay_kilobytes_per_second: Annotated[int, msgspec.Meta(ge=16, le=1_000_000)] = 1_000
    "The most that it carries on one, in each direction."


class ClientSection(Section, frozen=True, kw_only=True):
    channel_capacity: Positive = 1_000_000_000
    "Of each channel that this client opens to a proxy, in nanoTON."

    max_cost: Positive = 100_000_000
    "The most that one answer may cost, in nanoTON, unless a request says otherwise."

    trust: TrustName = "tdx"
    "What must be proven about a worker's machine: open, sim, tdx or tdx+gpu."

    weights: dict[str, HexKey] = {}
    "For a model's name the hash of the only weights that will do; `cocoon model hash` says it of a file."

    proxy_trust: TrustName | None = None
    "What must be proven about a proxy's, which sees sizes and money, never words. Left out: as for workers."


class WorkerFile(msgspec.Struct, frozen=True, kw_only=True):
    worker: WorkerSection
    network: NetworkSection
    model: list[ModelSection] = []
    exllama: ExllamaSection = ExllamaSection()
    upstream: UpstreamSection = UpstreamSection()
    price: PriceSection = PriceSection()
    chain: ChainSection | None = None
    wallet: WalletSection = WalletSection()
    attestation: AttestationSection = AttestationSection()
    trust: TrustSection = TrustSection()
    data: DataSection = DataSection()
    log: LogSection = LogSection()


class ProxyFile(msgspec.Struct, frozen=True, kw_only=True):
    network: NetworkSection
    proxy: ProxySection = ProxySection()
    chain: ChainSection | None = None
    wallet: WalletSection = WalletSection()
    attestation: AttestationSection = AttestationSection()
    trust: TrustSection = TrustSection()
    data: DataSection = DataSection()
    log: LogSection = LogSection()


class BootstrapFile(msgspec.Struct, frozen=True, kw_only=True):
    network: NetworkSection
    bootstrap: BootstrapSection = BootstrapSection()
    data: DataSection = DataSection()
    log: LogSection = LogSection()


class ClientFile(msgspec.Struct, frozen=True, kw_only=True):
    network: NetworkSection
    client: ClientSection = ClientSection()
    chain: ChainSection | None = None
    wallet: WalletSection = WalletSection()
    trust: TrustSection = TrustSection()
    data: DataSection = DataSection()
    log: LogSection = LogSection()


F = TypeVar("F", WorkerFile, ProxyFile, BootstrapFile, ClientFile)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[F]):
    """A checked file, and where it stood: its relative paths start there."""

    settings: F
    path: Path

    def resolve(self, relative: str) -> Path:
        """Make a path that was written in the file absolute."""
        return (self.path.parent / relative).resolve()

    @property
    def data_directory(self) -> Path:
        return self.resolve(self.settings.data.directory)


def load(kind: type[F], path: Path, environment: Mapping[str, str]) -> Loaded[F]:
    """Read and check a node's file.

    Raises:
        ConfigurationError: It cannot be read.
        ConfigurationMistakes: It is not TOML, or some of its keys or values cannot be.
    """
    source, tables = read_toml(path, what="the node's TOML file")
    overridden = _override(tables, kind, environment)
    mistakes = [
        Mistake(0, 0, f"{overridden[where]}: {text}")
        if where in overridden
        else Mistake(*locate(source, where), text)
        for where, text in _mistakes(kind, tables)
    ]
    if mistakes:
        raise ConfigurationMistakes(path, source, mistakes)
    return Loaded(msgspec.convert(tables, kind), path.resolve())


def _override(tables: dict[str, Any], kind: type, environment: Mapping[str, str]) -> dict[Where, str]:
    """Lay `COCOON_<SECTION>__<KEY>` over the file; a value is TOML if it reads as such, else text.

    Returns:
        The places that were set so, and by which variable.
    """
    overridden: dict[Where, str] = {}
    for section in msgspec.structs.fields(kind):
        if _is_array(section):
            continue
        for field in msgspec.structs.fields(_kind_of(section)):
            variable = f"COCOON_{section.name}__{field.name}".upper()
            text = environment.get(variable)
            if text is None:
                continue
            try:
                value = tomllib.loads(f"value = {text}")["value"]
            except tomllib.TOMLDecodeError:
                value = text
            table = tables.setdefault(section.name, {})
            if isinstance(table, dict):
                table[field.name] = value
                overridden[section.name, field.name] = variable
    return overridden


def _mistakes(kind: type, tables: Mapping[str, Any]) -> list[tuple[Where, str]]:
    sections = {field.name: field for field in msgspec.structs.fields(kind)}
    found: list[tuple[Where, str]] = []
    for name in tables:
        if name not in sections:
            found.append(((name, ""), f"unknown section [{name}]{meant(name, sections)}"))
    for name, section in sections.items():
        table = tables.get(name)
        if table is None:
            if section.required:
                found.append(((name, ""), f"section [{name}] is missing"))
        elif _is_array(section):
            found += _array_mistakes(name, _kind_of(section), table)
        elif not isinstance(table, dict):
            found.append(((name, ""), f"[{name}] is a section, not a value"))
        else:
            found += table_mistakes(name, _kind_of(section), cast("dict[str, Any]", table))
    if kind is WorkerFile:
        found += _served_mistakes(tables)
    return found


def _array_mistakes(name: str, kind: type[Section], tables: object) -> list[tuple[Where, str]]:
    if not isinstance(tables, list):
        return [((name, ""), f"[{name}] is one of several: write [[{name}]]")]
    found: list[tuple[Where, str]] = []
    for number, table in enumerate(cast("list[object]", tables), 1):
        if isinstance(table, dict):
            found += table_mistakes(f"{name} {number}", kind, cast("dict[str, Any]", table))
        else:
            found.append(((name, ""), f"[[{name}]] is a section, not a value"))
    return found


def _served_mistakes(tables: Mapping[str, Any]) -> list[tuple[Where, str]]:
    """Say whether a worker's file names one model, or several, and not both."""
    worker = tables.get("worker")
    if not isinstance(worker, dict):
        return []
    is_several = bool(tables.get("model"))
    said = [key for key in ("model", "name") if cast("dict[str, Any]", worker).get(key)]
    if is_several:
        return [(("worker", key), f"`{key}` in [worker] beside [[model]]: write it there") for key in said]
    if "model" not in said:
        return [(("worker", ""), "`model` is missing in [worker]")]
    return []


def _is_array(section: msgspec.structs.FieldInfo) -> bool:
    return get_origin(section.type) is list


def _kind_of(section: msgspec.structs.FieldInfo) -> type[Section]:
    """Give a section's class, also of one that may be left out."""
    kinds = (section.type, *get_args(section.type))
    return next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section))
