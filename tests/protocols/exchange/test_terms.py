"""Which quotes a client goes on with."""

from dataclasses import replace

import pytest

from cocoon_p2p.attestation.verdict import Proof
from cocoon_p2p.errors import AttestationFailed, CocoonError, RecordRejected, Refused
from cocoon_p2p.identity import network_id
from cocoon_p2p.protocols.exchange.terms import Rules, Terms, judge_quote
from cocoon_p2p.protocols.ids import Kind, Trust
from cocoon_p2p.protocols.messages import Ask, ChannelId, ExchangeId, Price, Signed, Usage
from cocoon_p2p.protocols.papers import message_hash, paper_hash
from cocoon_p2p.testing.papers import PRICE, PaperDeal, make_deal, paper_identity, paper_worker

NETWORK = network_id("test")
NOW = 1_800_000_000.0
PROXY = paper_identity(1)
WORKER = paper_worker(NETWORK, now=NOW)
ASK = Ask(
    exchange=ExchangeId(b"exchange 16 byte"),
    model="scripted",
    kind=Kind.CHAT,
    prompt_tokens_max=100,
    completion_tokens_max=50,
    max_cost=10_000,
    deadline_ms=30_000,
    trust=Trust.OPEN,
    prefer=(),
    exclude=(),
    features=(),
    channel=ChannelId(bytes(32)),
)


def deal(ask: Ask = ASK, **changes: object) -> PaperDeal:
    arguments: dict[str, object] = {
        "worker": WORKER,
        "proxy": PROXY,
        "network": NETWORK,
        "now": NOW,
        **changes,
    }
    return make_deal(ask, **arguments)  # type: ignore[arg-type]


def judge(quote: Signed, ask: Ask = ASK, rules: Rules = Rules(), now: float = NOW) -> Terms:
    return judge_quote(quote, ask=ask, proxy=PROXY.peer_id, network=NETWORK, rules=rules, now=now)


def test_an_honest_quote_becomes_terms_that_name_worker_price_and_trust() -> None:
    quote = deal().quote

    terms = judge(quote)

    assert terms.worker == WORKER.peer
    assert terms.quote_hash == paper_hash(quote)
    assert terms.statement_hash == paper_hash(WORKER.statement)
    assert terms.trust is Trust.OPEN
    # 10 prompt tokens at 4, 5 tokens of the answer at 20, 5 % commission.
    assert terms.amount(Usage(prompt=10, cached=0, completion=5, reasoning=0)) == 147


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        ({"exchange": bytes(16)}, "another question"),
        ({"ask_hash": message_hash(replace(ASK, max_cost=ASK.max_cost + 1))}, "another question"),
        ({"expires": int(NOW)}, "outside its dates"),
        ({"expires": int(NOW) + 3_600}, "outside its dates"),
        ({"reserved": False}, "not what was asked for"),
        ({"price": replace(PRICE, completion=1)}, "another price"),
        ({"worker_statement": paper_worker(NETWORK, now=NOW, number=2).statement}, "not the one"),
        ({"worker_record": WORKER.statement}, "Record"),
        ({"worker": paper_worker(NETWORK, now=NOW, model="other")}, "does not offer"),
        ({"worker": paper_worker(NETWORK, now=NOW, kind=Kind.EMBEDDING)}, "does no chat"),
        ({"worker": paper_worker(NETWORK, now=NOW - 7_200)}, "expired"),
        ({"worker": paper_worker(network_id("other"), now=NOW)}, "signature"),
        ({"proxy": paper_identity(2)}, "signature"),
        ({"network": network_id("other")}, "signature"),
    ],
)
def test_a_quote_that_no_honest_proxy_makes_is_rejected(lie: dict[str, object], says: str) -> None:
    quote = deal(**lie).quote

    with pytest.raises(CocoonError, match=says) as raised:
        judge(quote)

    assert raised.value.code in ("record-rejected", "malformed-message")


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"exclude": (WORKER.peer,)}, "excluded"),
        ({"weights_hash": bytes(32)}, "other weights"),
        ({"features": ("logprobs", "seed")}, r"lacks a feature \(features=logprobs\)"),
        ({"kind": Kind.EMBEDDING}, "does no embedding"),
    ],
)
def test_a_quote_that_disregards_the_ask_is_rejected(wish: dict[str, object], says: str) -> None:
    ask = replace(ASK, **wish)  # type: ignore[arg-type]

    with pytest.raises(RecordRejected, match=says):
        judge(deal(ask).quote, ask)


def test_a_worker_that_chats_may_be_quoted_for_a_bare_prompt() -> None:
    ask = replace(ASK, kind=Kind.COMPLETION)

    assert judge(deal(ask).quote, ask).offer.kind is Kind.CHAT


def test_a_commission_above_the_client_s_own_limit_is_refused_as_too_dear() -> None:
    quote = deal(commission_basis_points=501).quote

    with pytest.raises(Refused, match=r"limit=500 asked=501 basis points") as raised:
        judge(quote, rules=Rules(commission_basis_points_max=500))

    assert raised.value.code == "price-above-limit"
    assert judge(quote, rules=Rules(commission_basis_points_max=501)).quote.commission_basis_points == 501


def test_a_quote_is_too_dear_when_the_longest_prompt_and_first_token_exceed_the_max_cost() -> None:
    # (100 x 4 + 20) x 1.05
    enough, short = replace(ASK, max_cost=441), replace(ASK, max_cost=440)

    judge(deal(enough).quote, enough)
    with pytest.raises(Refused, match="limit=440 prompt_and_first_token=441 nanoTON"):
        judge(deal(short).quote, short)


def test_a_cached_token_dearer_than_a_computed_one_is_refused() -> None:
    worker = paper_worker(NETWORK, now=NOW, price=Price(prompt=1, cached=2, completion=1, reasoning=1))

    with pytest.raises(Refused, match="cached"):
        judge(deal(worker=worker).quote)


def test_trust_is_what_the_client_s_own_appraisal_says_and_not_what_the_proxy_chose() -> None:
    ask = replace(ASK, trust=Trust.TDX)

    with pytest.raises(AttestationFailed, match=r"gate type: no-evidence \(proven=open asked=tdx\)"):
        judge(deal(ask).quote, ask)

    proven = judge(deal(ask).quote, ask, Rules(appraise=lambda record, statement: Proof(Trust.TDX_GPU)))
    assert proven.trust is Trust.TDX_GPU


def test_a_price_question_must_be_answered_without_a_reservation() -> None:
    ask = replace(ASK, channel=None)

    assert not judge(deal(ask).quote, ask).quote.reserved
    with pytest.raises(RecordRejected, match="reserved=True"):
        judge(deal(ask, reserved=True).quote, ask)
