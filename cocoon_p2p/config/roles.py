"""What each role's file may hold: its own sections, and the shared ones.

The text under a key is what `cocoon config show` and the JSON Schema say of it.
"""

from typing import Annotated, Literal

import msgspec

from cocoon_p2p.config.pricing import PriceSection
from cocoon_p2p.config.sections import (
    AttestationSection,
    BasisPoints,
    ChainSection,
    DataSection,
    HexKey,
    LogSection,
    NetworkSection,
    NonNegative,
    PageSection,
    Positive,
    Section,
    TelemetrySection,
    TrustName,
    TrustSection,
    WalletSection,
)

SLOTS_UNMEASURED = 4
"Taken where nobody knows yet how many are worth having. Each has the memory of its whole context."


DrainSeconds = Annotated[int, msgspec.Meta(ge=0, le=480)]
"The rest of the ten minutes after which a service manager takes a stop for one that hangs is for claims."


class WorkerSection(Section, frozen=True, kw_only=True):
    model: str = ""
    """What it serves; several models have a `[[model]]` each instead. A GGUF file, relative to this file (a
    path has a slash, or ends in .gguf); the name of a model that `cocoon model pull` fetched; `demo` for the
    built-in demo model; or the address of a server that runs the model, such as http://127.0.0.1:8000
    (section `upstream`)."""

    payout: str = ""
    "An address: where it is paid. The same as `payout` in `[wallet]`."

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

    drain_seconds: DrainSeconds = 30
    "How long a worker that is told to stop lets what runs go on. What takes longer goes on at another."

    proxies: list[str] = msgspec.field(default_factory=list[str])
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
    price_floor: NonNegative | None = None
    price_ceiling: NonNegative | None = None
    "As in `[price]`, which holds where they are left out."


class ExllamaSection(Section, frozen=True, kw_only=True):
    """How ExLlamaV2 uses the card, where `worker.model` is a folder."""

    cache: Literal["fp16", "q8", "q6", "q4"] = "fp16"
    "Precision of what is kept of a request's tokens: fewer bits, more slots or longer contexts."

    draft: str = "none"
    """Guess tokens and check several in a step. ngram: from what the prompt has said, faster where answers
    repeat it. Else a folder, relative to this file, with a small model of the same vocabulary."""

    lora: list[str] = msgspec.field(default_factory=list[str])
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

    canary_budget: NonNegative = 2_000_000
    """What may be spent an hour on short questions to its own workers, to find those whose engine is dead, in
    nanoTON; 0: none are asked."""

    drain_seconds: DrainSeconds = 30
    "How long a proxy that is told to stop lets what runs go on. What takes longer goes on through another."


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

    weights: dict[str, HexKey] = msgspec.field(default_factory=dict[str, HexKey])
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
    page: PageSection = PageSection()
    telemetry: TelemetrySection = TelemetrySection()
    log: LogSection = LogSection()


class ProxyFile(msgspec.Struct, frozen=True, kw_only=True):
    network: NetworkSection
    proxy: ProxySection = ProxySection()
    chain: ChainSection | None = None
    wallet: WalletSection = WalletSection()
    attestation: AttestationSection = AttestationSection()
    trust: TrustSection = TrustSection()
    data: DataSection = DataSection()
    page: PageSection = PageSection()
    telemetry: TelemetrySection = TelemetrySection()
    log: LogSection = LogSection()


class BootstrapFile(msgspec.Struct, frozen=True, kw_only=True):
    network: NetworkSection
    bootstrap: BootstrapSection = BootstrapSection()
    data: DataSection = DataSection()
    page: PageSection = PageSection()
    log: LogSection = LogSection()


class ClientFile(msgspec.Struct, frozen=True, kw_only=True):
    network: NetworkSection
    client: ClientSection = ClientSection()
    chain: ChainSection | None = None
    wallet: WalletSection = WalletSection()
    trust: TrustSection = TrustSection()
    data: DataSection = DataSection()
    telemetry: TelemetrySection = TelemetrySection()
    log: LogSection = LogSection()
