"""What commands print with `--json` out of no type of their own: its shape, for the schemas in docs/json.

Where a command prints one of the package's types, the schema is made from that.
"""

from typing import Any, Literal

import msgspec

from cocoon_p2p.explorer.view import ExplorerView
from cocoon_p2p.gateway.key_deeds import KeyView
from cocoon_p2p.inference.evaluation import Answered, Score
from cocoon_p2p.inference.measuring.kept import Circumstances
from cocoon_p2p.overview.channels import ChannelView
from cocoon_p2p.overview.earnings import Earnings
from cocoon_p2p.overview.peers import Peers
from cocoon_p2p.overview.snapshot import FindingView
from cocoon_p2p.overview.statement import Statement
from cocoon_p2p.overview.status import Status

Source = Literal["daemon", "ledger"]


class Usage(msgspec.Struct, kw_only=True):
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int


class Tokens(msgspec.Struct, kw_only=True):
    prompt_tokens: int
    completion_tokens: int


class ToolCall(msgspec.Struct, kw_only=True):
    id: str
    name: str
    arguments: str


class Appraisal(msgspec.Struct, kw_only=True):
    level: str | None
    is_insecure: bool
    gate: str
    cause: str
    detail: str
    vector: dict[str, str]
    "For each claim `affirmed`, `unknown` or `refuted`."

    image: str | None
    warnings: list[str]


class Part(msgspec.Struct, kw_only=True):
    """One exchange that an answer came by."""

    exchange: str
    continues: str | None
    has_lost: bool
    proxy: str
    worker: str
    delivered: Tokens
    outcome: str | None
    charged: Tokens | None
    paper: Literal["receipt", "meter"] | None
    client_paid: int


class AnswerFacts(msgspec.Struct, kw_only=True):
    """What is known of an answer but for its text; money in nanoTON."""

    tool_calls: list[ToolCall]
    model: str | None
    is_demo_model: bool | None
    finish_reason: str | None
    usage: Usage
    client_paid: int
    worker_earned: int | None
    commission: int | None
    proxy: str | None
    worker: str | None
    exchange: str | None
    continued_from: list[str]
    parts: list[Part]
    first_token_seconds: float | None
    trust: str | None
    is_insecure: bool
    verdict: Appraisal | None
    proxy_verdict: Appraisal | None


class Likely(msgspec.Struct, kw_only=True):
    token: str
    logprob: float


class Chosen(Likely, kw_only=True):
    top: list[Likely]


class TextAnswer(AnswerFacts, kw_only=True):
    answer: str
    logprobs: list[Chosen] = []
    "Where they were asked for."


class Vectors(AnswerFacts, kw_only=True):
    vectors: list[list[float]]


class OnChain(msgspec.Struct, kw_only=True):
    before: dict[str, int]
    after: dict[str, int]
    fees: dict[str, int]
    fees_total: int
    client_spent: int
    worker_earned: int
    commission: int
    difference: int
    reconciles: bool


class Demo(TextAnswer, kw_only=True):
    unspent: int
    chain: str | None
    channel_addresses: list[str]
    onchain: OnChain | None
    faults: list[str]
    "What does not add up."


class Prices(msgspec.Struct, kw_only=True):
    prompt: int
    cached: int
    completion: int
    reasoning: int


class RateFacts(msgspec.Struct, kw_only=True):
    prefill: float
    decode: float | None
    decode_at_full_load: float | None


class Offer(msgspec.Struct, kw_only=True):
    """Prices are the worker's, in nanoTON for 1,000 tokens."""

    model: str
    kind: str
    context_tokens: int
    features: list[str]
    is_demo_model: bool
    weights_hash: str
    price: Prices
    rates: RateFacts | None
    commission_basis_points: int
    proxy: str
    has_channel: bool
    trust: str
    is_insecure: bool


class Keys(msgspec.Struct, kw_only=True):
    keys: list[KeyView]


class Listening(msgspec.Struct, kw_only=True):
    event: Literal["listening"]
    url: str


class StepLine(msgspec.Struct, kw_only=True):
    """One step, with facts of its own beside these."""

    step: str
    seconds: float
    status: Literal["ok", "waiting", "failed"]
    hint: str = ""
    "What to do about a step that was not made."


class LevelFacts(msgspec.Struct, kw_only=True):
    requests_at_once: int
    first_token_seconds: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float | None
    decode_tokens_per_second_in_all: float | None


class Advertised(msgspec.Struct, kw_only=True):
    prefill_tokens_per_second: float
    decode_tokens_per_second: float | None
    decode_tokens_per_second_at_full_load: float | None


class Benched(msgspec.Struct, kw_only=True):
    circumstances: Circumstances
    levels: list[LevelFacts]
    slots_worth_having: int | None
    advertised: Advertised


class Channels(msgspec.Struct, kw_only=True):
    source: Source
    channels: list[ChannelView]


class ChannelsDone(msgspec.Struct, kw_only=True):
    source: Literal["daemon", "here"]
    channels: list[ChannelView]


class Voucher(msgspec.Struct, kw_only=True):
    """All that somebody else needs to collect a channel for its payee."""

    channel: str
    network: int
    payer: str
    payee: str
    payer_key: str
    payee_key: str
    close_delay_seconds: int
    salt: str
    epoch: int
    total: int
    signature: str


class WatchLine(msgspec.Struct, kw_only=True):
    event: Literal["looked", "claimed", "failed", "not-read", "no-chain"]
    channel: str = ""
    vouchered_nano: int = 0
    due_nano: int = 0
    amount_nano: int = 0
    state: Literal["", "open", "closing", "gone", "not-opened"] = ""
    claimed_nano: int = 0
    deposit_nano: int = 0
    close_at: int = 0
    error: str = ""
    code: str = ""


class Earned(msgspec.Struct, kw_only=True):
    """The sums; with `--statement` a statement instead."""

    source: Source
    earnings: Earnings | msgspec.UnsetType = msgspec.UNSET
    statement: Statement | msgspec.UnsetType = msgspec.UNSET


class BackedUpFile(msgspec.Struct, kw_only=True):
    name: str
    bytes: int


class BackedUp(msgspec.Struct, kw_only=True):
    file: str
    bytes: int
    role: str
    peer: str
    at: int
    files: list[BackedUpFile]
    left_out: list[str]


class Restored(msgspec.Struct, kw_only=True):
    folder: str
    config: str
    role: str
    peer: str
    at: int
    age_seconds: int
    to_set: dict[str, str]


class WalletMade(msgspec.Struct, kw_only=True):
    network: str
    address: str
    file: str


class WalletShown(msgspec.Struct, kw_only=True):
    network: str
    address: str
    balance: str = ""
    balance_nano: int = 0
    is_deployed: bool = False
    is_payment_under_way: bool = False
    unavailable: str = ""
    "Why the chain did not say; else the four above are there, where a chain was named."


class Paid(msgspec.Struct, kw_only=True):
    sent: str
    sent_nano: int
    fee: str
    fee_nano: int
    transaction: str
    lt: int


class Sent(Paid, kw_only=True):
    balance: str
    balance_nano: int


class Settled(msgspec.Struct, kw_only=True):
    settled: str
    paid: bool = False
    sent: str = ""
    sent_nano: int = 0
    fee: str = ""
    fee_nano: int = 0
    transaction: str = ""
    lt: int = 0


class ReceiptFinding(msgspec.Struct, kw_only=True):
    subject: str
    claim: str
    words: str


class Receipt(msgspec.Struct, kw_only=True):
    """Facts are there only as far as their papers hold."""

    holds: bool
    findings: list[ReceiptFinding]
    network: str
    proxy: str | None
    worker: str | None
    level: str | None
    model: str | None
    weights_hash: str | None
    engine: str | None
    exchange: str | None
    outcome: str | None
    usage: Usage | None
    client_paid: int | None
    worker_earned: int | None
    commission: int | None
    started_ms: int | None
    ended_ms: int | None
    answer: str | None


class Evaluation(msgspec.Struct, kw_only=True):
    model: str
    path: str
    tasks: list[Score]
    wrong: list[Answered] = []
    "Where they were asked for."


class Hash(msgspec.Struct, kw_only=True):
    path: str
    weights_hash: str


class Model(msgspec.Struct, kw_only=True):
    name: str
    state: Literal["pulled", "catalogue", "built in", "broken"]
    trouble: str = ""
    "Of a broken one, of which nothing else is known."

    family: str = ""
    size_bytes: int = 0
    weights_hash: str = ""
    licence: str = ""
    context_tokens: int = 0
    source: str = ""
    revision: str = ""
    path: str | None = None
    used_by: list[str] = []


class Verified(msgspec.Struct, kw_only=True):
    name: str
    wrong: list[str]


class Mistake(msgspec.Struct, kw_only=True):
    line: int
    column: int
    text: str


class Mistakes(msgspec.Struct, kw_only=True):
    file: str
    role: str
    mistakes: list[Mistake]


class Held(msgspec.Struct, kw_only=True):
    value: Any
    from_: str = msgspec.field(name="from")
    meaning: str


class DevChain(msgspec.Struct, kw_only=True):
    now: int
    seqno: int
    balance: int = 0


class Image(msgspec.Struct, kw_only=True):
    name: str
    build: str
    role: str
    mrtd: str
    rtmr0: str
    rtmr1: str
    rtmr2: str
    mr_config_id: str
    events: dict[str, Literal["any"] | list[str]]


class PolicyShown(msgspec.Struct, kw_only=True):
    epoch: int
    expires: str
    digest: str
    signed_by: list[str]
    accept: list[str]
    allow_insecure: bool
    proxies: Literal["attested", "any"]
    log_levels: list[str]
    statuses: list[str]
    refused_advisories: list[str]
    evaluation_minimum: int
    attributes_required: str
    attributes_allowed: str
    platforms_allowed: Literal["any"] | list[str]
    platforms_denied: list[str]
    peers_per_platform: int | None
    is_gpu_required: bool
    gpus: list[str]
    gpus_denied: list[str]
    images: list[Image]


class EventFacts(msgspec.Struct, kw_only=True):
    name: str
    payload: str


class EvidenceShown(msgspec.Struct, kw_only=True):
    """What evidence claims. Nothing of it is verified."""

    verified: bool
    type: str
    quote_bytes: int
    events: list[EventFacts]
    gpus: int
    simulated: str | None
    warning: str
    report_data: str = ""
    rtmr3: str = ""
    "Both where there is a quote."


class Configuration(msgspec.Struct, kw_only=True):
    engine: str
    weights_hash: str
    upstream: str
    log_level: str
    uses_gpu: bool


class TdShown(msgspec.Struct, kw_only=True):
    mrtd: str
    rtmr0: str
    rtmr1: str
    rtmr2: str
    rtmr3: str
    mr_config_id: str
    attributes: str
    report_data: str
    platform: str
    fmspc: str
    evaluation_number: int
    collateral_holds_until: str


class GpuShown(msgspec.Struct, kw_only=True):
    device: str
    driver: str
    vbios: str
    measurements: dict[str, str]


class VerdictShown(msgspec.Struct, kw_only=True):
    has_passed: bool
    level: str | None
    is_insecure: bool
    cause: str
    gate: str
    detail: str
    vector: dict[str, str]
    peer: str | None
    role: str | None
    evidence_type: str | None
    image: str | None
    tcb_status: str | None
    advisories: list[str]
    holds_until: str | None
    policy_epoch: int
    policy_digest: str
    warnings: list[str]
    configuration: Configuration | None
    td: TdShown | None
    gpus: list[GpuShown]


OUTPUTS: dict[str, Any] = {
    **dict.fromkeys(("ask", "translate", "summarize", "transcribe"), TextAnswer),
    **dict.fromkeys(("bootstrap", "proxy", "worker"), StepLine),
    **dict.fromkeys(("gateway key create", "gateway key revoke", "gateway key top-up"), KeyView),
    **dict.fromkeys(("channels open", "channels close", "channels top-up"), ChannelsDone),
    **dict.fromkeys(("devchain give", "devchain advance", "devchain look"), DevChain),
    **dict.fromkeys(("wallet new", "wallet restore"), WalletMade),
    "attest policy show": PolicyShown,
    "attest show": EvidenceShown,
    "attest verify": VerdictShown,
    "backup": BackedUp,
    "bench": dict[str, Benched],
    "channels export": Voucher,
    "channels list": Channels,
    "channels watch": WatchLine,
    "config check": Mistakes,
    "config show": dict[str, dict[str, Held]],
    "demo": Demo,
    "devchain": StepLine,
    "doctor": FindingView,
    "earnings": Earned,
    "embed": Vectors,
    "explorer": ExplorerView,
    "gateway": Listening,
    "gateway key list": Keys,
    "model evaluate": Evaluation,
    "model hash": Hash,
    "model list": list[Model],
    "model pull": Model,
    "model verify": list[Verified],
    "models": list[Offer],
    "peers": Peers,
    "receipt verify": Receipt,
    "restore": Restored,
    "status": Status,
    "wallet send": Sent,
    "wallet settle": Settled,
    "wallet show": WalletShown,
}
"What each command prints, by its name; one a line where it prints several."

LINES = frozenset(
    {"bootstrap", "proxy", "worker", "devchain", "channels export", "channels watch", "doctor", "gateway"}
)
"Commands that print an object a line."

OPEN = frozenset({StepLine})
"Shapes that have facts of their own beside those that are named."
