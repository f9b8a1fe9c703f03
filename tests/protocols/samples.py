"""One exchange from the question to the bill, in fixed keys and dates: what the wire's vectors show.

Every hash and signature in it holds, so that another implementation can check the papers
against each other and not only one by one.
"""

import hashlib
from dataclasses import dataclass, replace
from struct import pack
from typing import Any

from nacl import bindings

from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.payments.close_terms import sign_close_terms
from cocoon_p2p.payments.voucher import sign_voucher
from cocoon_p2p.protocols import messages as m
from cocoon_p2p.protocols import wishes as w
from cocoon_p2p.protocols.contents import (
    AnswerContent,
    ChatTurn,
    FinishReason,
    RequestContent,
    cut_parts,
    encode_answer,
    encode_request,
)
from cocoon_p2p.protocols.exchange.bundle import FORMAT, Bundle, SealedChunk
from cocoon_p2p.protocols.ids import Kind, Outcome, Preference, Reason, Role, Trust, Why
from cocoon_p2p.protocols.papers import Paper, check, message_hash, paper_hash, sign
from cocoon_p2p.protocols.schema import encode_message
from cocoon_p2p.records import make_record, make_statement
from cocoon_p2p.sealing import Accepted, Handshake, RequestBinding, accept, start
from cocoon_p2p.units import Nano

NETWORK_NAME = "vectors"
NETWORK = network_id(NETWORK_NAME)
NOW = 1_767_225_600
"2026-01-01T00:00:00Z."


def draw(word: str, size: int = 32) -> bytes:
    """Give the bytes that stand for a random draw: the first of SHA-256 over a word."""
    return hashlib.sha256(b"cocoon vector: " + word.encode()).digest()[:size]


CLIENT, PROXY, WORKER = (
    Identity.from_seed(draw(f"{role} identity")) for role in ("client", "proxy", "worker")
)
SEALING_SECRET = draw("worker sealing secret")
EXCHANGE = m.ExchangeId(draw("exchange", 16))
CHANNEL, WORKER_CHANNEL = (m.ChannelId(draw(f"channel to the {role}")) for role in ("proxy", "worker"))
EPOCH = 49_000_000_000_003
CHANNEL_KEY, CHANNEL_SECRET = bindings.crypto_sign_seed_keypair(draw("channel key"))

EVIDENCE = b"cocoon vector: evidence"
'Stands for the evidence of a machine: what hashes to `draw("evidence")`.'

PRICE = m.Price(prompt=4_000, cached=1_000, completion=20_000, reasoning=20_000)
OFFER = m.ModelOffer(
    name="qwen3-0.6b-q8_0",
    weights_hash=draw("weights"),
    tokenizer_hash=draw("tokenizer and template"),
    kind=Kind.CHAT,
    context_tokens=40_960,
    features=("seed", "stop", "temperature"),
    price=PRICE,
    demo=False,
)

WORKER_STATEMENT = make_statement(
    WORKER,
    NETWORK,
    role=Role.WORKER,
    sealing_key=bindings.crypto_scalarmult_base(SEALING_SECRET),
    now=NOW,
    nonce=draw("worker statement nonce", 16),
    configuration_hash=draw("measured configuration"),
)
WORKER_RECORD = make_record(
    WORKER,
    NETWORK,
    role=Role.WORKER,
    statement=WORKER_STATEMENT,
    addresses=(),
    models=(OFFER,),
    now=NOW,
    sequence=7,
    evidence_hash=draw("evidence"),
)
MEASURED_RECORD = make_record(
    WORKER,
    NETWORK,
    role=Role.WORKER,
    statement=WORKER_STATEMENT,
    addresses=(),
    models=(replace(OFFER, rates=m.Rates(812_500, 31_250, 12_400)),),
    now=NOW,
    sequence=8,
)
PROXY_STATEMENT = make_statement(
    PROXY,
    NETWORK,
    role=Role.PROXY,
    sealing_key=bindings.crypto_scalarmult_base(draw("proxy sealing secret")),
    now=NOW,
    nonce=draw("proxy statement nonce", 16),
)
PROXY_RECORD = make_record(
    PROXY,
    NETWORK,
    role=Role.PROXY,
    statement=PROXY_STATEMENT,
    addresses=("/dns4/proxy.example.org/tcp/4001", "/ip6/2001:db8::1/tcp/4001"),
    models=(OFFER,),
    now=NOW,
    sequence=41,
    commission_basis_points=250,
    catalogue_hash=draw("catalogue"),
)

ASK = m.Ask(
    exchange=EXCHANGE,
    model=OFFER.name,
    kind=Kind.CHAT,
    prompt_tokens_max=96,
    completion_tokens_max=256,
    max_cost=10_000,
    deadline_ms=30_000,
    trust=Trust.TDX,
    prefer=(WORKER.peer_id,),
    exclude=(),
    features=("stop",),
    channel=CHANNEL,
)
QUOTE = m.Quote(
    exchange=EXCHANGE,
    ask_hash=message_hash(ASK),
    worker_record=WORKER_RECORD,
    worker_statement=WORKER_STATEMENT,
    price=PRICE,
    commission_basis_points=250,
    expires=NOW + 30,
    grant=1_000,
    window_tokens=64,
    reserved=True,
)
SIGNED_QUOTE = sign(PROXY, NETWORK, QUOTE)

HANDSHAKE: Handshake = start(
    check(m.KeyStatement, WORKER_STATEMENT, signer=WORKER.peer_id, network=NETWORK),
    network=NETWORK,
    ephemeral_secret=draw("client ephemeral"),
    nonce=draw("client nonce"),
    statement_hash=paper_hash(WORKER_STATEMENT),
)
ACCEPTED: Accepted = accept(
    HANDSHAKE.hello,
    identity=WORKER,
    network=NETWORK,
    sealing_secret=SEALING_SECRET,
    statement_hash=paper_hash(WORKER_STATEMENT),
    ephemeral_secret=draw("worker ephemeral"),
    session_id=draw("session", 16),
    now=NOW,
)
BINDING = RequestBinding(EXCHANGE, paper_hash(SIGNED_QUOTE), ASK.max_cost, ASK.trust)
REQUEST = RequestContent(
    kind=Kind.CHAT,
    model=OFFER.name,
    messages=(ChatTurn("system", "Answer in one sentence."), ChatTurn("user", "What is a cocoon? 🐛")),
    completion_tokens_max=256,
    temperature_milli=700,
    top_p_milli=950,
    stop=("\n\n",),
    ignore_eos=False,
    answer_prefix="",
    seed=42,
)
ANSWERS = (AnswerContent("A cocoon is"), AnswerContent(" a silken home.", FinishReason.STOP))

TOOL = w.Tool("weather", "The weather in a town.", '{"type":"object","required":["town"]}')
CALL = w.ToolCall("call_1", "weather", '{"town": "Tashkent"}')
SCHEMA = w.Constraint(w.Grammar.JSON_SCHEMA, '{"type":"object"}')
SPEECH = w.Audio(b"RIFF, and so on", "uz")
LIKELY = w.Likelihood("Тош".encode()[:3], 693_147)
LOGPROB = w.TokenLogprob(w.Likelihood(b"Tosh", 105_361), (w.Likelihood(b"Tosh", 105_361), LIKELY))
TOLD = ChatTurn("tool", '{"celsius": 31}', call_id=CALL.id)
WISHES = (TOOL, CALL, SCHEMA, SPEECH, LIKELY, LOGPROB, w.LogitBias(1734, 0), TOLD)
"What stands inside requests and answers that wish for more than text."

TOOL_REQUEST = replace(
    REQUEST,
    messages=(
        ChatTurn("user", "How warm is it there?", images=(b"\x89PNG, and so on",)),
        ChatTurn("assistant", "", calls=(CALL,)),
        TOLD,
    ),
    constraint=SCHEMA,
    tools=(TOOL,),
    tool_use=w.ToolUse.AUTO,
    logit_bias=(w.LogitBias(1734, 0), w.LogitBias(88, 101_500)),
    banned=("As an AI",),
    logprobs=1,
    frequency_penalty_milli=2_500,
    presence_penalty_milli=1_000,
)
EMBEDDING_REQUEST = RequestContent(
    Kind.EMBEDDING, "nomic-embed", (), 0, 0, 1000, (), False, "", inputs=("a cocoon", "a moth")
)
SPEECH_REQUEST = RequestContent(
    Kind.TRANSCRIPTION, "whisper-base", (), 448, 0, 1000, (), False, "", prompt="Toshkent", audio=SPEECH
)
BEYOND_TEXT = (
    TOOL_REQUEST,
    EMBEDDING_REQUEST,
    SPEECH_REQUEST,
    AnswerContent("Tosh", logprobs=(LOGPROB,)),
    AnswerContent("", FinishReason.TOOL_CALLS, calls=(CALL,)),
    AnswerContent("", FinishReason.STOP, vectors=(pack("<3f", 0.5, -0.25, 1), pack("<3f", 0, 1, -1))),
)
USAGES = (m.Usage(31, 8, 3, 0), m.Usage(31, 8, 8, 0))


@dataclass(frozen=True, slots=True)
class Sealed:
    """One piece of a stream, with what it was sealed from."""

    position: int
    final: bool
    plain: bytes
    sealed: bytes


def _seal() -> tuple[tuple[Sealed, ...], tuple[Sealed, ...], bytes]:
    client = HANDSHAKE.finish(ACCEPTED.accept, ACCEPTED.signature, now=NOW)
    number = client.next_request()
    plains = cut_parts(encode_request(REQUEST))
    parts = tuple(
        Sealed(
            at,
            at == len(plains) - 1,
            plain,
            client.seal_part(number, at, at == len(plains) - 1, BINDING, plain),
        )
        for at, plain in enumerate(plains)
    )
    chunks = tuple(
        Sealed(
            at,
            answer.finish is not None,
            encode_answer(answer),
            ACCEPTED.session.seal_chunk(number, at, answer.finish is not None, usage, encode_answer(answer)),
        )
        for at, (answer, usage) in enumerate(zip(ANSWERS, USAGES, strict=True))
    )
    return parts, chunks, client.answer_key(number)


PARTS, CHUNKS, ANSWER_KEY = _seal()
METER = m.Meter(EXCHANGE, paper_hash(SIGNED_QUOTE), USAGES[1])
SIGNED_METER = sign(WORKER, NETWORK, METER)
RECEIPT = m.Receipt(
    exchange=EXCHANGE,
    quote_hash=paper_hash(SIGNED_QUOTE),
    model=OFFER.name,
    weights_hash=OFFER.weights_hash,
    engine="llama.cpp b6800",
    usage=USAGES[1],
    amount=292,
    answer_hash=hashlib.sha256(b"".join(chunk.sealed for chunk in CHUNKS)).digest(),
    started_ms=NOW * 1000 + 120,
    ended_ms=NOW * 1000 + 840,
    outcome=Outcome.COMPLETED,
)
SIGNED_RECEIPT = sign(WORKER, NETWORK, RECEIPT)
SETTLEMENT = m.Settlement(
    exchange=EXCHANGE,
    quote_hash=paper_hash(SIGNED_QUOTE),
    outcome=Outcome.COMPLETED,
    worker_amount=292,
    commission=7,
    client_charged=90_299,
    worker_charged=1_000_292,
    receipt=SIGNED_RECEIPT,
)
SIGNED_SETTLEMENT = sign(PROXY, NETWORK, SETTLEMENT)
BUNDLE = Bundle(
    format=FORMAT,
    network=NETWORK,
    proxy=PROXY.peer_id,
    quote=SIGNED_QUOTE,
    settlement=SIGNED_SETTLEMENT,
    chunks=(
        SealedChunk(False, USAGES[0], CHUNKS[0].sealed),
        SealedChunk(True, USAGES[1], CHUNKS[1].sealed, SIGNED_METER.signature),
    ),
    ask=encode_message(ASK),
    answer_key=ANSWER_KEY,
    evidence=EVIDENCE,
)
OTHER_EXCHANGE = m.ExchangeId(draw("another exchange", 16))
BROKEN_SETTLEMENT = m.Settlement(
    exchange=OTHER_EXCHANGE,
    quote_hash=draw("another quote"),
    outcome=Outcome.FAILED,
    worker_amount=160,
    commission=4,
    client_charged=90_463,
    worker_charged=1_000_452,
    meter=sign(WORKER, NETWORK, m.Meter(OTHER_EXCHANGE, draw("another quote"), USAGES[1])),
)
CHANNEL_OFFER = m.ChannelOffer(
    network=NETWORK,
    payer=CLIENT.peer_id,
    payee=PROXY.peer_id,
    channel=CHANNEL,
    channel_key=CHANNEL_KEY,
    close_delay_seconds=86_400,
    salt=draw("salt", 16),
    contract=m.ChannelContract(
        2**32 - 239, draw("payer's wallet"), draw("payee's wallet"), draw("payee's channel key")
    ),
)
UNBACKED_OFFER = replace(CHANNEL_OFFER, contract=None, capacity=500_000_000)
DEPOSIT = m.Deposit(EPOCH, 500_000_000)
CHANNEL_STATE = m.ChannelState(
    channel=CHANNEL,
    sequence=12,
    vouchered=100_000,
    charged=90_299,
    running=(m.Running(OTHER_EXCHANGE, 96),),
)
CLOSE_TERMS = m.CloseTerms(channel=CHANNEL, epoch=EPOCH, total=90_299, valid_until=NOW + 3_600)
PRESENCE = m.Presence(draw("nonce of a presence"), CLIENT.peer_id, draw("statement"), draw("evidence"))

PAPERS: tuple[tuple[Identity, Paper], ...] = (
    (WORKER, check(m.KeyStatement, WORKER_STATEMENT, signer=WORKER.peer_id, network=NETWORK)),
    (WORKER, check(m.Record, WORKER_RECORD, signer=WORKER.peer_id, network=NETWORK)),
    (WORKER, check(m.Record, MEASURED_RECORD, signer=WORKER.peer_id, network=NETWORK)),
    (PROXY, check(m.KeyStatement, PROXY_STATEMENT, signer=PROXY.peer_id, network=NETWORK)),
    (PROXY, check(m.Record, PROXY_RECORD, signer=PROXY.peer_id, network=NETWORK)),
    (PROXY, QUOTE),
    (WORKER, METER),
    (WORKER, RECEIPT),
    (PROXY, SETTLEMENT),
    (PROXY, BROKEN_SETTLEMENT),
    (CLIENT, CHANNEL_OFFER),
    (PROXY, CHANNEL_STATE),
    (CLIENT, CLOSE_TERMS),
    (PROXY, PRESENCE),
)

_STATE = sign(PROXY, NETWORK, CHANNEL_STATE)
REGISTERED, LOAD = m.Registered(7), m.Load(3, 8, 0)

MESSAGES: tuple[Any, ...] = (
    ASK,
    m.Ask(
        exchange=OTHER_EXCHANGE,
        model="any",
        kind=Kind.COMPLETION,
        prompt_tokens_max=2**63 - 1,
        completion_tokens_max=0,
        max_cost=0,
        deadline_ms=24,
        trust=Trust.OPEN,
        prefer=(),
        exclude=(WORKER.peer_id, PROXY.peer_id),
        features=(),
        weights_hash=OFFER.weights_hash,
        continues=EXCHANGE,
    ),
    m.Quoted(EXCHANGE, SIGNED_QUOTE),
    m.Refused(
        exchange=EXCHANGE,
        reason=Reason.PRICE_ABOVE_LIMIT,
        detail="price above limit: asked 400, cheapest 520 nanoTON per 1,000",
        candidates=(
            m.Candidate(WORKER.peer_id, Reason.PRICE_ABOVE_LIMIT, 400, 520),
            m.Candidate(CLIENT.peer_id, Reason.EXCLUDED),
        ),
        candidates_more=3,
        retry_after_ms=1_500,
    ),
    replace(ASK, preference=Preference.FAST),
    replace(ASK, wait_ms=10_000),
    m.Refused(EXCHANGE, Reason.NO_CAPACITY, "no capacity", (), 0, retry_after_ms=700, wait_ms=700),
    m.Refused(EXCHANGE, Reason.NO_CREDIT, "", (), 0, need=1_240),
    m.Refused(EXCHANGE, Reason.STALE, "the price has changed", (), 0, newest_record=WORKER_RECORD),
    m.Assign(
        exchange=EXCHANGE,
        quote=SIGNED_QUOTE,
        channel=WORKER_CHANNEL,
        deadline_ms=29_400,
        amount_max=9_756,
        model=OFFER.name,
        kind=Kind.CHAT,
        completion_tokens_max=256,
        max_cost=10_000,
        trust=Trust.TDX,
        continues=OTHER_EXCHANGE,
        prompt_tokens_max=96,
        allowed=2_048,
    ),
    m.Hello(EXCHANGE, HANDSHAKE.hello),
    m.Accept(EXCHANGE, ACCEPTED.accept, ACCEPTED.signature),
    m.Part(EXCHANGE, ACCEPTED.session.id, 0, 0, True, PARTS[0].sealed),
    m.PromptMetered(EXCHANGE, m.Usage(31, 8, 0, 0)),
    m.Chunk(EXCHANGE, 0, False, USAGES[0], CHUNKS[0].sealed),
    m.Chunk(EXCHANGE, 1, True, USAGES[1], CHUNKS[1].sealed, SIGNED_METER.signature),
    m.Heartbeat(EXCHANGE, 65_536),
    m.Cancel(EXCHANGE, Reason.CANCELLED),
    m.Allow(EXCHANGE, 4_096),
    m.Receipted(EXCHANGE, SIGNED_RECEIPT),
    m.Receipted(EXCHANGE, SIGNED_RECEIPT, Reason.ENGINE_FAILED),
    m.Settled(EXCHANGE, sign(PROXY, NETWORK, SETTLEMENT)),
    m.Settled(
        OTHER_EXCHANGE, sign(PROXY, NETWORK, BROKEN_SETTLEMENT), Reason.WORKER_LOST, "the worker is gone"
    ),
    m.OpenChannel(sign(CLIENT, NETWORK, CHANNEL_OFFER)),
    m.OpenChannel(sign(CLIENT, NETWORK, UNBACKED_OFFER), _STATE),
    m.ChannelAccepted(CHANNEL, 20_000_000, _STATE),
    m.ChannelAccepted(CHANNEL, 0, _STATE, DEPOSIT),
    m.Voucher(CHANNEL, EPOCH, 100_000, sign_voucher(CHANNEL_SECRET, CHANNEL, EPOCH, Nano(100_000))),
    m.StateSigned(_STATE),
    m.PaperWanted(EXCHANGE),
    m.PaperWanted(EXCHANGE, SIGNED_QUOTE, SIGNED_METER),
    m.Paper(EXCHANGE, receipt=SIGNED_RECEIPT),
    m.Paper(EXCHANGE, settlement=sign(PROXY, NETWORK, SETTLEMENT)),
    m.CloseWanted(sign(CLIENT, NETWORK, CLOSE_TERMS), sign_close_terms(CHANNEL_SECRET, CLOSE_TERMS)),
    m.CloseAgreed(sign(PROXY, NETWORK, CLOSE_TERMS)),
    m.ChannelRefused(Reason.UNKNOWN_EXCHANGE, "no such exchange", EXCHANGE),
    m.ChannelRefused(Reason.CHAIN_UNREACHABLE, "two lite servers of different operators must agree"),
    m.PayoutWanted(2**32 - 239),
    m.Payout(draw("payee's wallet"), draw("payee's channel key"), 86_400),
    m.Funded(CHANNEL),
    m.DepositSeen(CHANNEL, DEPOSIT),
    m.PresenceWanted(draw("nonce of a presence")),
    m.PresenceShown(sign(PROXY, NETWORK, PRESENCE), WORKER_STATEMENT),
    m.EvidenceWanted(draw("evidence")),
    m.EvidenceShown(b"evidence of some type"),
    m.EvidenceRefused(Reason.RATE_LIMITED, "so many at once"),
    m.Register(WORKER_RECORD, WORKER_STATEMENT),
    REGISTERED,
    m.Registered(7, m.Chances(3_600, 40, 3, (m.NotChosen(int(Why.OTHERS_QUICKER), 37),), 9_500)),
    LOAD,
    m.Drain("new image"),
    m.SessionRefused(Reason.WRONG_NETWORK, "this is `vectors`"),
)
