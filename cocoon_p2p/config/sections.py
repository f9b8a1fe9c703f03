"""The sections that nodes of several roles have: the vocabulary, with a default beside each key.

The text under a key is what `cocoon config show` and the JSON Schema say of it.
"""

from typing import Annotated

import msgspec

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


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One table of the file."""


class NetworkSection(Section, frozen=True, kw_only=True):
    """Which network this node belongs to, and how it is reached."""

    name: NetworkName = ""
    "Left out: what the network's file says, if `bootstrap` names one."

    bootstrap: Annotated[list[str], msgspec.Meta(extra_json_schema={"type": ["array", "string"]})] = []
    """The file that a network's founder publishes (`network.toml`), relative to this one; name and chain are
    taken from it. Or the multiaddrs of its bootstrap nodes, each ending in `/p2p/<peer id>`."""

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

    network: ChainName = ""
    """mainnet, testnet or local. All nodes that pay each other must name the same. Left out: what the file of
    the network says."""

    servers: str = ""
    """TON's global configuration with its lite servers, a JSON file relative to this one. Left out: what the
    network's file names."""

    close_delay_seconds: Annotated[int, msgspec.Meta(ge=600, le=(1 << 24) - 1)] = 24 * 3600
    "How long whoever is paid may still claim once a payer closes alone. Shorter ones are not taken."

    claim_above: Positive = 1_000_000_000
    "Vouchers are turned into money when this much is due, in nanoTON."

    claim_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 7
    "And however little is due, this often."

    claim_on_stop: NonNegative = 100_000_000
    """When the node is told to stop, this much is reason enough, in nanoTON: while it is away, nobody claims
    for it. 0: a stop is no reason."""


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


class PageSection(Section, frozen=True, kw_only=True):
    """The page on which this node shows its owner how it does, and its metrics (docs/page.md)."""

    listen: str | None = None
    """An IP address and a port; 0 takes any that is free. Empty: there is no page. Left out: 127.0.0.1, and
    8910 for a worker, 8911 for a proxy, 8912 for a bootstrap node."""

    public: bool = False
    """Whether others may see it: without it `listen` must be an address that only this machine reaches. Such
    a page shows what the node earns to whoever asks, and nothing can be done on it."""

    hosts: Annotated[list[str], msgspec.Meta(max_length=16)] = []
    """Names in browsers' address lines that mean this page, beside `localhost` and IP addresses; for example
    that of a reverse proxy in front of it."""


class TelemetrySection(Section, frozen=True, kw_only=True):
    """Where this node sends a span of each exchange, beside the metrics on its page (docs/monitoring.md)."""

    otlp: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^/?#@\s]+(/[^?#@\s]*)?)?$", max_length=256)] = ""
    """The base URL of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318. Empty: no spans.
    Needs the extra `otel`."""


class LogSection(Section, frozen=True, kw_only=True):
    level: Level = "warning"
    json: bool = False
