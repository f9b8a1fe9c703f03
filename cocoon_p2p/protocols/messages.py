"""The closed set of messages, and the papers that are signed.

*Messages* travel on one of the four protocols and carry a tag under key 0. *Papers* are
bodies that somebody signs; they travel as `Signed`, so that the very bytes that were signed
are the bytes that are hashed, kept and shown to others later. Both are maps with integer
keys (`schema`). All times are whole seconds since the Unix epoch unless the name says
`_ms`; all money is nanoTON; prices are nanoTON per 1,000 tokens.

Spec: protocols/cocoon.cddl, and a page a protocol beside it. Vectors: protocols/vectors/.
"""

from dataclasses import dataclass
from typing import Annotated, NewType

from cocoon_p2p.identity import PEER_ID_SIZE_BYTES, SIGNATURE_SIZE_BYTES
from cocoon_p2p.protocols.ids import (
    ADDRESS_MAX_BYTES,
    ADDRESSES_MAX,
    CHUNK_SIZE_MAX_BYTES,
    EVIDENCE_SIZE_MAX_BYTES,
    EXCHANGE_ID_SIZE_BYTES,
    FEATURES_MAX,
    MODELS_MAX,
    NAME_MAX_BYTES,
    NETWORK_SIZE_BYTES,
    PAPER_SIZE_MAX_BYTES,
    PART_SIZE_MAX_BYTES,
    PARTS_MAX,
    PEERS_MAX,
    RUNNING_MAX,
    TEXT_MAX_BYTES,
    WHYS_MAX,
    Kind,
    Outcome,
    Preference,
    Reason,
    Role,
    Trust,
)
from cocoon_p2p.protocols.schema import Key, Max, Size, message

ExchangeId = NewType("ExchangeId", bytes)
"The client's 16 random bytes. One id, one charge."

ChannelId = NewType("ChannelId", bytes)
"The 32-byte account id of a payment channel (its address on TON's basechain)."

AExchange = Annotated[ExchangeId, Size(EXCHANGE_ID_SIZE_BYTES)]
AChannel = Annotated[ChannelId, Size(32)]
APeer = Annotated[bytes, Size(PEER_ID_SIZE_BYTES)]
AHash = Annotated[bytes, Size(32)]
AKey = Annotated[bytes, Size(32)]
ANetwork = Annotated[bytes, Size(NETWORK_SIZE_BYTES)]
ASignature = Annotated[bytes, Size(SIGNATURE_SIZE_BYTES)]
AName = Annotated[str, Max(NAME_MAX_BYTES)]
AText = Annotated[str, Max(TEXT_MAX_BYTES)]
AToken = Annotated[str, Max(32)]
AAddress = Annotated[str, Max(ADDRESS_MAX_BYTES)]


def shorten(words: str) -> str:
    """Cut an explanation to what `AText` holds, at a whole character; what cannot be spelled is a `?`."""
    return words.encode(errors="replace")[:TEXT_MAX_BYTES].decode(errors="ignore")


# ---------------------------------------------------------------- shapes inside others


@dataclass(frozen=True, slots=True)
class Signed:
    """A paper and its signature. Who must have signed, and as what, is said where it is used."""

    body: Annotated[bytes, Key(1), Max(PAPER_SIZE_MAX_BYTES)]
    signature: Annotated[ASignature, Key(2)]


@dataclass(frozen=True, slots=True)
class Price:
    """nanoTON per 1,000 tokens of each class."""

    prompt: Annotated[int, Key(1)]
    cached: Annotated[int, Key(2)]
    completion: Annotated[int, Key(3)]
    reasoning: Annotated[int, Key(4)]


@dataclass(frozen=True, slots=True)
class Usage:
    """Cumulative token counts of one exchange. The classes do not overlap: `cached` tokens
    are not in `prompt`, `reasoning` tokens are not in `completion`."""

    prompt: Annotated[int, Key(1)]
    cached: Annotated[int, Key(2)]
    completion: Annotated[int, Key(3)]
    reasoning: Annotated[int, Key(4)]


@dataclass(frozen=True, slots=True)
class Rates:
    """How quick a worker says that it is, in thousandths of a token a second; none is 0.

    It measured itself. Nobody vouches for that: who relies on it looks at what comes."""

    prefill_milli: Annotated[int, Key(1)]
    "Prompt tokens of one request that is alone, over the time to its first token."

    decode_milli: Annotated[int | None, Key(2)] = None
    "Completion tokens of one request that is alone. Absent where a model makes none."

    decode_full_milli: Annotated[int | None, Key(3)] = None
    "Completion tokens of each request, where every slot is taken."


@dataclass(frozen=True, slots=True)
class ModelOffer:
    """One model that can be bought."""

    name: Annotated[AName, Key(1)]
    weights_hash: Annotated[AHash, Key(2)]
    tokenizer_hash: Annotated[AHash, Key(3)]
    kind: Annotated[Kind, Key(4)]
    context_tokens: Annotated[int, Key(5)]
    features: Annotated[tuple[AToken, ...], Key(6), Max(FEATURES_MAX)]
    price: Annotated[Price, Key(7)]
    demo: Annotated[bool, Key(8)]
    "A model for trying the network: said wherever it answers."

    rates: Annotated[Rates | None, Key(9)] = None


@dataclass(frozen=True, slots=True)
class ChannelContract:
    """What a channel's contract is deployed with, beside what every offer names."""

    global_id: Annotated[int, Key(1), Max((1 << 32) - 1)]
    "The TON network's number, as 32 bits in two's complement."

    payer_wallet: Annotated[AHash, Key(2)]
    "The account id, on the basechain, that gets what is left."

    payee_wallet: Annotated[AHash, Key(3)]
    "The one that is paid."

    payee_key: Annotated[AKey, Key(4)]
    "Ed25519: signs close terms."


@dataclass(frozen=True, slots=True)
class Deposit:
    """What a payee has seen behind a channel."""

    epoch: Annotated[int, Key(1)]
    "The contract's life: vouchers are signed for it, those of an earlier one are void."

    capacity: Annotated[int, Key(2)]
    "How high vouchers may go."


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker that was considered and left out."""

    worker: Annotated[APeer, Key(1)]
    reason: Annotated[Reason, Key(2)]
    asked: Annotated[int | None, Key(3)] = None
    "What the client's limit was, where the reason is a number."

    offered: Annotated[int | None, Key(4)] = None


@dataclass(frozen=True, slots=True)
class Running:
    """One exchange in a channel state that is not charged yet."""

    exchange: Annotated[AExchange, Key(1)]
    accrued: Annotated[int, Key(2)]


# ---------------------------------------------------------------- papers


@dataclass(frozen=True, slots=True)
class KeyStatement:
    """Which keys a node uses and how it is configured. Signed by the identity as `statement`.

    A quote of the hardware binds the hash of this paper, so prices and load stay out of it.
    """

    network: Annotated[ANetwork, Key(1)]
    role: Annotated[Role, Key(2)]
    identity_key: Annotated[AKey, Key(3)]
    "Ed25519."

    sealing_key: Annotated[AKey, Key(4)]
    "X25519, static; requests are sealed to it."

    not_before: Annotated[int, Key(5)]
    expires: Annotated[int, Key(6)]
    nonce: Annotated[bytes, Key(7), Size(16)]
    configuration_hash: Annotated[AHash, Key(8)]
    "Hash of what the image measured of its configuration; zeros where nothing is measured."


@dataclass(frozen=True, slots=True)
class Record:
    """What a node offers. Signed by its identity as `record`."""

    network: Annotated[ANetwork, Key(1)]
    peer: Annotated[APeer, Key(2)]
    role: Annotated[Role, Key(3)]
    statement_hash: Annotated[AHash, Key(4)]
    addresses: Annotated[tuple[AAddress, ...], Key(5), Max(ADDRESSES_MAX)]
    "Where a proxy can be dialled. Empty in a worker's record: no home address is published."

    models: Annotated[tuple[ModelOffer, ...], Key(6), Max(MODELS_MAX)]
    issued: Annotated[int, Key(7)]
    expires: Annotated[int, Key(8)]
    sequence: Annotated[int, Key(9)]
    "Of two records of one peer the higher sequence holds."

    commission_basis_points: Annotated[int, Key(10), Max(10_000)]
    "A proxy's; 0 in a worker's record."

    evidence_hash: Annotated[AHash | None, Key(11)] = None
    catalogue_hash: Annotated[AHash | None, Key(12)] = None
    "Of the full list of models, where it does not fit a DHT record."


@dataclass(frozen=True, slots=True)
class Quote:
    """What an exchange will cost and who will do it. Signed by the proxy as `quote`."""

    exchange: Annotated[AExchange, Key(1)]
    ask_hash: Annotated[AHash, Key(2)]
    "SHA-256 of the Ask as it was sent: the proxy cannot have answered another question."

    worker_record: Annotated[Signed, Key(3)]
    worker_statement: Annotated[Signed, Key(4)]
    price: Annotated[Price, Key(5)]
    "The worker's, for the model asked for; it stands in the worker's record too."

    commission_basis_points: Annotated[int, Key(6), Max(10_000)]
    expires: Annotated[int, Key(7)]
    grant: Annotated[int, Key(8)]
    "How much the proxy lets this client owe."

    window_tokens: Annotated[int, Key(9)]
    "Completion tokens that must be covered ahead of delivery."

    reserved: Annotated[bool, Key(10)]
    "Whether a slot is held for RESERVATION_SECONDS (false: only a price)."


@dataclass(frozen=True, slots=True)
class Meter:
    """What a worker has done so far. Signed by the worker as `meter`: the paper of a broken exchange."""

    exchange: Annotated[AExchange, Key(1)]
    quote_hash: Annotated[AHash, Key(2)]
    usage: Annotated[Usage, Key(3)]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a worker did, all told. Signed by the worker as `receipt`."""

    exchange: Annotated[AExchange, Key(1)]
    quote_hash: Annotated[AHash, Key(2)]
    model: Annotated[AName, Key(3)]
    weights_hash: Annotated[AHash, Key(4)]
    engine: Annotated[AName, Key(5)]
    usage: Annotated[Usage, Key(6)]
    amount: Annotated[int, Key(7)]
    "What the worker is owed."

    answer_hash: Annotated[AHash, Key(8)]
    "SHA-256 over the sealed chunks, in order."

    started_ms: Annotated[int, Key(9)]
    ended_ms: Annotated[int, Key(10)]
    "Milliseconds since the Unix epoch, by the worker's clock."

    outcome: Annotated[Outcome, Key(11)]
    continues: Annotated[AExchange | None, Key(12)] = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an exchange cost, to whom. Signed by the proxy as `settlement`.

    It holds the worker's receipt or, where the worker vanished, its last signed Meter.
    """

    exchange: Annotated[AExchange, Key(1)]
    quote_hash: Annotated[AHash, Key(2)]
    outcome: Annotated[Outcome, Key(3)]
    worker_amount: Annotated[int, Key(4)]
    commission: Annotated[int, Key(5)]
    client_charged: Annotated[int, Key(6)]
    "Cumulative on the client's channel, this exchange included."

    worker_charged: Annotated[int, Key(7)]
    "Cumulative on the channel to the worker, this exchange included."

    receipt: Annotated[Signed | None, Key(8)] = None
    meter: Annotated[Signed | None, Key(9)] = None


@dataclass(frozen=True, slots=True)
class ChannelOffer:
    """A payer's proposal of a channel. Signed by the payer's identity as `channel-offer`."""

    network: Annotated[ANetwork, Key(1)]
    payer: Annotated[APeer, Key(2)]
    payee: Annotated[APeer, Key(3)]
    channel: Annotated[AChannel, Key(4)]
    "The contract's account id; without a contract, a hash of these terms."

    channel_key: Annotated[AKey, Key(5)]
    "Ed25519: signs this channel's vouchers and close terms, and nothing else."

    close_delay_seconds: Annotated[int, Key(6)]
    salt: Annotated[bytes, Key(7), Size(16)]
    capacity: Annotated[int | None, Key(8)] = None
    "Where no chain stands behind it: how high vouchers may go. Exactly one of the two is there."

    contract: Annotated[ChannelContract | None, Key(9)] = None


@dataclass(frozen=True, slots=True)
class ChannelState:
    """What both sides hold to be owed. Signed by the payee's identity as `channel-state`."""

    channel: Annotated[AChannel, Key(1)]
    sequence: Annotated[int, Key(2)]
    vouchered: Annotated[int, Key(3)]
    charged: Annotated[int, Key(4)]
    running: Annotated[tuple[Running, ...], Key(5), Max(RUNNING_MAX)]


@dataclass(frozen=True, slots=True)
class CloseTerms:
    """At what total both close a channel. Signed by both identities as `close-terms`."""

    channel: Annotated[AChannel, Key(1)]
    epoch: Annotated[int, Key(2)]
    "The contract's life; 0 without a chain."

    total: Annotated[int, Key(3)]
    valid_until: Annotated[int, Key(4)]


@dataclass(frozen=True, slots=True)
class Presence:
    """I am at the other end of this connection, with these keys. Signed by the identity as `presence`."""

    nonce: Annotated[bytes, Key(1), Size(32)]
    "Drawn by who asks: the answer cannot be an old one."

    asker: Annotated[APeer, Key(2)]
    "Who asks, as the one who answers sees it: what was answered to one is worth nothing to another."

    statement_hash: Annotated[AHash, Key(3)]
    evidence_hash: Annotated[AHash | None, Key(4)] = None
    "Of the evidence for that statement, where there is some."


# ---------------------------------------------------------------- /cocoon/exchange/1


@message(1)
@dataclass(frozen=True, slots=True)
class Ask:
    """Client to proxy: who would do this, and for how much?"""

    exchange: Annotated[AExchange, Key(1)]
    model: Annotated[AName, Key(2)]
    kind: Annotated[Kind, Key(3)]
    prompt_tokens_max: Annotated[int, Key(4)]
    "A bound that the client knows without the tokenizer: UTF-8 bytes and the template's overhead."

    completion_tokens_max: Annotated[int, Key(5)]
    max_cost: Annotated[int, Key(6)]
    "The most the client will pay for this exchange, commission included."

    deadline_ms: Annotated[int, Key(7)]
    "Milliseconds that are left for the whole exchange. Each hop takes off the time it measured."

    trust: Annotated[Trust, Key(8)]
    prefer: Annotated[tuple[APeer, ...], Key(9), Max(PEERS_MAX)]
    exclude: Annotated[tuple[APeer, ...], Key(10), Max(PEERS_MAX)]
    features: Annotated[tuple[AToken, ...], Key(11), Max(FEATURES_MAX)]
    channel: Annotated[AChannel | None, Key(12)] = None
    "None: only a price is asked for, nothing is reserved."

    weights_hash: Annotated[AHash | None, Key(13)] = None
    "Only a worker with these weights will do."

    continues: Annotated[AExchange | None, Key(14)] = None
    preference: Annotated[Preference | None, Key(15)] = None
    "By what the proxy chooses, beside `prefer`. Absent: price and time count alike."

    wait_ms: Annotated[int | None, Key(64)] = None
    "How long to wait in line for a slot. Only for a proxy whose refusal had one. Absent: not at all."


@message(2)
@dataclass(frozen=True, slots=True)
class Quoted:
    """Proxy to client: the signed `Quote`."""

    exchange: Annotated[AExchange, Key(1)]
    quote: Annotated[Signed, Key(2)]


@message(3)
@dataclass(frozen=True, slots=True)
class Refused:
    """A hop says no, before anything was charged. It ends the exchange."""

    exchange: Annotated[AExchange, Key(1)]
    reason: Annotated[Reason, Key(2)]
    detail: Annotated[AText, Key(3)]
    "What would have to change, in words: `price above limit: asked 400, cheapest 520 nanoTON per 1,000`."

    candidates: Annotated[tuple[Candidate, ...], Key(4), Max(PEERS_MAX)]
    candidates_more: Annotated[int, Key(5)]
    "Workers left out beyond those named."

    retry_after_ms: Annotated[int | None, Key(6)] = None
    need: Annotated[int | None, Key(7)] = None
    "For `no credit`: how much must be covered, in nanoTON."

    newest_record: Annotated[Signed | None, Key(8)] = None
    "For `stale`: the worker's newest record."

    wait_ms: Annotated[int | None, Key(64)] = None
    "For `no capacity`: how long it is expected to take in line. An Ask that would wait so long is let in."


@message(4)
@dataclass(frozen=True, slots=True)
class Assign:
    """Proxy to worker: this exchange is yours. Hello or Part follow on the same stream."""

    exchange: Annotated[AExchange, Key(1)]
    quote: Annotated[Signed, Key(2)]
    channel: Annotated[AChannel, Key(3)]
    "The proxy's channel to the worker."

    deadline_ms: Annotated[int, Key(4)]
    amount_max: Annotated[int, Key(5)]
    "The most that the worker may earn by it: the client's max cost less the commission, or less than that."

    model: Annotated[AName, Key(6)]
    kind: Annotated[Kind, Key(7)]
    completion_tokens_max: Annotated[int, Key(8)]
    max_cost: Annotated[int, Key(9)]
    "The Ask's, under the seal of the request: a proxy that alters it is found out."

    trust: Annotated[Trust, Key(10)]
    "The Ask's, under the seal as well."

    continues: Annotated[AExchange | None, Key(11)] = None
    "The Ask's: it goes into the receipt."

    prompt_tokens_max: Annotated[int | None, Key(12)] = None
    "The Ask's. A prompt with more tokens is refused (`too large`) before anything is computed."

    allowed: Annotated[int | None, Key(13)] = None
    "What the client has covered, less the commission: nothing may be earned beyond it before an Allow."


@message(5)
@dataclass(frozen=True, slots=True)
class Hello:
    """Client to worker, through the proxy: opens a sealing session (`sealing`)."""

    exchange: Annotated[AExchange, Key(1)]
    hello: Annotated[bytes, Key(2), Max(512)]


@message(6)
@dataclass(frozen=True, slots=True)
class Accept:
    """Worker to client, through the proxy: the session stands, signed over the client's nonce."""

    exchange: Annotated[AExchange, Key(1)]
    accept: Annotated[bytes, Key(2), Max(512)]
    signature: Annotated[ASignature, Key(3)]


@message(7)
@dataclass(frozen=True, slots=True)
class Part:
    """Client to worker: one sealed part of the request."""

    exchange: Annotated[AExchange, Key(1)]
    session: Annotated[bytes, Key(2), Size(16)]
    request: Annotated[int, Key(3)]
    "The request's number in the sealing session."

    part: Annotated[int, Key(4), Max(PARTS_MAX - 1)]
    final: Annotated[bool, Key(5)]
    sealed: Annotated[bytes, Key(6), Max(PART_SIZE_MAX_BYTES)]


@message(8)
@dataclass(frozen=True, slots=True)
class PromptMetered:
    """Worker to client: the prompt's tokens, counted before any of them is computed."""

    exchange: Annotated[AExchange, Key(1)]
    usage: Annotated[Usage, Key(2)]


@message(9)
@dataclass(frozen=True, slots=True)
class Chunk:
    """Worker to client: a sealed piece of the answer, with the Meter as it stands after it."""

    exchange: Annotated[AExchange, Key(1)]
    number: Annotated[int, Key(2)]
    final: Annotated[bool, Key(3)]
    usage: Annotated[Usage, Key(4)]
    sealed: Annotated[bytes, Key(5), Max(CHUNK_SIZE_MAX_BYTES)]
    meter_signature: Annotated[ASignature | None, Key(6)] = None
    "The worker's signature over the `Meter` with this usage, every METER_TOKENS or METER_SECONDS."


@message(10)
@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Either way, on a hop with work in it: still here."""

    exchange: Annotated[AExchange, Key(1)]
    steps: Annotated[int, Key(2)]
    "Steps the engine has made, prefill included: a number that stands still is a stall."


@message(11)
@dataclass(frozen=True, slots=True)
class Cancel:
    """Client to proxy, proxy to worker: stop. A Receipt or Settlement still follows."""

    exchange: Annotated[AExchange, Key(1)]
    reason: Annotated[Reason, Key(2)]


@message(12)
@dataclass(frozen=True, slots=True)
class Receipted:
    """Worker to proxy: the signed `Receipt`. It ends the exchange on this hop."""

    exchange: Annotated[AExchange, Key(1)]
    receipt: Annotated[Signed, Key(2)]
    reason: Annotated[Reason | None, Key(3)] = None
    "Why it broke, where it did."


@message(13)
@dataclass(frozen=True, slots=True)
class Settled:
    """Proxy to client: the signed `Settlement`. It ends the exchange on this hop."""

    exchange: Annotated[AExchange, Key(1)]
    settlement: Annotated[Signed, Key(2)]
    reason: Annotated[Reason | None, Key(3)] = None
    "Why it broke, where it did."

    detail: Annotated[AText | None, Key(4)] = None


@message(14)
@dataclass(frozen=True, slots=True)
class Allow:
    """Proxy to worker: the client has covered more, so this exchange may earn up to this amount."""

    exchange: Annotated[AExchange, Key(1)]
    amount: Annotated[int, Key(2)]
    "All told, never below what was allowed before."


# ---------------------------------------------------------------- /cocoon/channel/1


@message(32)
@dataclass(frozen=True, slots=True)
class OpenChannel:
    """Payer to payee, first on every channel stream: the signed `ChannelOffer`, and what is newest."""

    offer: Annotated[Signed, Key(1)]
    state: Annotated[Signed | None, Key(2)] = None
    "The newest signed `ChannelState` that the payer holds."


@message(33)
@dataclass(frozen=True, slots=True)
class ChannelAccepted:
    """Payee to payer: vouchers are welcome."""

    channel: Annotated[AChannel, Key(1)]
    grant: Annotated[int, Key(2)]
    state: Annotated[Signed, Key(3)]
    "The payee's newest signed `ChannelState`."

    deposit: Annotated[Deposit | None, Key(4)] = None
    "What the payee last saw behind the channel; None if it has a chain and saw nothing there yet."


@message(34)
@dataclass(frozen=True, slots=True)
class Voucher:
    """Payer to payee: everything owed so far on this channel. Layout of what is signed: payments/voucher."""

    channel: Annotated[AChannel, Key(1)]
    epoch: Annotated[int, Key(2)]
    "The contract's life; 0 without a chain."

    total: Annotated[int, Key(3)]
    signature: Annotated[ASignature, Key(4)]


@message(35)
@dataclass(frozen=True, slots=True)
class StateSigned:
    """Payee to payer: the newest signed `ChannelState`."""

    state: Annotated[Signed, Key(1)]


@message(36)
@dataclass(frozen=True, slots=True)
class PaperWanted:
    """Payer to payee: how did this exchange end? Answered by `Paper` or `ChannelRefused`.

    A quote says that the payer lost the hop: the `Meter` is the newest that it has, and without one
    nothing was delivered to it.
    """

    exchange: Annotated[AExchange, Key(1)]
    quote: Annotated[Signed | None, Key(2)] = None
    meter: Annotated[Signed | None, Key(3)] = None


@message(37)
@dataclass(frozen=True, slots=True)
class Paper:
    """Payee to payer: the signed receipt (from a worker) or settlement (from a proxy)."""

    exchange: Annotated[AExchange, Key(1)]
    receipt: Annotated[Signed | None, Key(2)] = None
    settlement: Annotated[Signed | None, Key(3)] = None


@message(38)
@dataclass(frozen=True, slots=True)
class CloseWanted:
    """Either side: let us close. `terms` is a `CloseTerms` with the sender's signature."""

    terms: Annotated[Signed, Key(1)]
    contract_signature: Annotated[ASignature | None, Key(2)] = None
    "The sender's channel key over the same terms, as the contract checks it; none without a chain."


@message(39)
@dataclass(frozen=True, slots=True)
class CloseAgreed:
    """The other signature over the same terms."""

    terms: Annotated[Signed, Key(1)]
    contract_signature: Annotated[ASignature | None, Key(2)] = None


@message(40)
@dataclass(frozen=True, slots=True)
class ChannelRefused:
    """Payee to payer: no, and why."""

    reason: Annotated[Reason, Key(1)]
    detail: Annotated[AText, Key(2)]
    exchange: Annotated[AExchange | None, Key(3)] = None


@message(41)
@dataclass(frozen=True, slots=True)
class PayoutWanted:
    """Payer to payee, before a channel is offered: where do you want to be paid? Answered by `Payout`."""

    global_id: Annotated[int, Key(1), Max((1 << 32) - 1)]
    "Of the TON network that the payer would pay on, as 32 bits in two's complement."


@message(42)
@dataclass(frozen=True, slots=True)
class Payout:
    """Payee to payer: what a contract that pays me must be deployed with."""

    wallet: Annotated[AHash, Key(1)]
    "The account id, on the basechain, that is to be paid."

    key: Annotated[AKey, Key(2)]
    "Ed25519: will sign close terms."

    close_delay_seconds: Annotated[int, Key(3)]
    "The shortest close delay that I take."


@message(43)
@dataclass(frozen=True, slots=True)
class Funded:
    """Payer to payee: the deposit has changed, look. Answered by `DepositSeen`."""

    channel: Annotated[AChannel, Key(1)]


@message(44)
@dataclass(frozen=True, slots=True)
class DepositSeen:
    """Payee to payer: what I saw behind the channel; vouchers up to it are welcome."""

    channel: Annotated[AChannel, Key(1)]
    deposit: Annotated[Deposit, Key(2)]


# ---------------------------------------------------------------- /cocoon/session/1


@message(48)
@dataclass(frozen=True, slots=True)
class Register:
    """Worker to proxy: who I am and what I offer. Repeated whenever the record changes."""

    record: Annotated[Signed, Key(1)]
    statement: Annotated[Signed, Key(2)]


@dataclass(frozen=True, slots=True)
class NotChosen:
    """One reason why a worker was not chosen, and how often."""

    why: Annotated[int, Key(1), Max(255)]
    "`ids.Why`; a number that is not among them is a reason that came later."

    times: Annotated[int, Key(2)]


@dataclass(frozen=True, slots=True)
class Chances:
    """What became of the Asks for a worker's models, of those that its proxy looked back at."""

    seconds: Annotated[int, Key(1)]
    "How long it has counted."

    looked_at: Annotated[int, Key(2)]
    "How many Asks. Nobody asked if there are none; not every Ask is looked back at."

    chosen: Annotated[int, Key(3)]
    not_chosen: Annotated[tuple[NotChosen, ...], Key(4), Max(WHYS_MAX)] = ()
    rests_ms: Annotated[int | None, Key(5)] = None
    "How long the worker is left alone yet."


@message(49)
@dataclass(frozen=True, slots=True)
class Registered:
    """Proxy to worker: you will be offered to clients. Said again, now and then, with what came of it."""

    sequence: Annotated[int, Key(1)]
    "Of the record that was taken."

    chances: Annotated[Chances | None, Key(64)] = None


@message(50)
@dataclass(frozen=True, slots=True)
class Load:
    """Worker to proxy, each HEARTBEAT_SECONDS and on change."""

    slots_free: Annotated[int, Key(1)]
    slots_total: Annotated[int, Key(2)]
    queued: Annotated[int, Key(3)]


@message(51)
@dataclass(frozen=True, slots=True)
class Drain:
    """Worker to proxy: nothing new; what runs is finished. Proxy to worker: the same, the other way."""

    reason: Annotated[AText, Key(1)]


@message(52)
@dataclass(frozen=True, slots=True)
class SessionRefused:
    """Proxy to worker: not here, and why."""

    reason: Annotated[Reason, Key(1)]
    detail: Annotated[AText, Key(2)]


# ---------------------------------------------------------------- /cocoon/evidence/1


@message(64)
@dataclass(frozen=True, slots=True)
class PresenceWanted:
    """Whoever dialled to whom it dialled: who are you? Answered by `PresenceShown`."""

    nonce: Annotated[bytes, Key(1), Size(32)]


@message(65)
@dataclass(frozen=True, slots=True)
class PresenceShown:
    """The signed `Presence`, and the `KeyStatement` that it names."""

    presence: Annotated[Signed, Key(1)]
    statement: Annotated[Signed, Key(2)]


@message(66)
@dataclass(frozen=True, slots=True)
class EvidenceWanted:
    """Show me the evidence with this SHA-256: your own or, of a proxy, one of its workers'."""

    evidence_hash: Annotated[AHash, Key(1)]


@message(67)
@dataclass(frozen=True, slots=True)
class EvidenceShown:
    """The evidence, as it is hashed."""

    evidence: Annotated[bytes, Key(1), Max(EVIDENCE_SIZE_MAX_BYTES)]


@message(68)
@dataclass(frozen=True, slots=True)
class EvidenceRefused:
    """There is none, or too much was asked for."""

    reason: Annotated[Reason, Key(1)]
    detail: Annotated[AText, Key(2)]
