"""How answers and offers are spelled: as plain facts for programs, as lines and tables for people."""

from typing import TYPE_CHECKING, Any

from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.units import format_ton

if TYPE_CHECKING:
    from cocoon_p2p.attestation.verdict import Tri, Verdict
    from cocoon_p2p.client import Answer, AnswerPart, Offered
    from cocoon_p2p.protocols.exchange.bill import Bill
    from cocoon_p2p.protocols.ids import Trust
    from cocoon_p2p.protocols.messages import Rates, Usage


def harmless(text: str) -> str:
    """Take out what could steer the reader's terminal: control characters, but for line ends and tabs."""
    return "".join("\N{REPLACEMENT CHARACTER}" if is_control(letter) else letter for letter in text)


def one_line(text: str) -> str:
    """As `harmless`, and in one line: else what a peer named could pass for the next one."""
    return harmless(text).replace("\n", " ").replace("\t", " ")


def is_control(letter: str) -> bool:
    """Whether a character is a control of the terminal's (C0, DEL or C1)."""
    return (letter < " " and letter not in "\n\t") or "\x7f" <= letter <= "\x9f"


def trust_text(trust: Any) -> str:
    """Spell a trust level the way it is asked for: `open`, `tdx+gpu`."""
    return str(trust.name).lower().replace("_", "+")


def short_peer(peer: PeerId) -> str:
    """The end of a peer id, enough to tell a few apart."""
    return f"…{peer_id_text(peer)[-8:]}"


def answer_facts(answer: "Answer") -> dict[str, object]:
    """Give an answer and what is known of it, in JSON's types; money in nanoTON."""
    usage = answer.usage
    bills = [part.bill.settlement for part in answer.parts if part.bill is not None]
    return {
        "answer": answer.text,
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": call.arguments} for call in answer.tool_calls
        ],
        "model": answer.model and answer.model.name,
        "is_demo_model": answer.model and answer.model.demo,
        "finish_reason": answer.finish,
        "usage": {
            "prompt_tokens": usage.prompt,
            "cached_tokens": usage.cached,
            "completion_tokens": usage.completion,
            "reasoning_tokens": usage.reasoning,
        },
        "client_paid": int(answer.cost),
        "worker_earned": sum(bill.worker_amount for bill in bills) if bills else None,
        "commission": sum(bill.commission for bill in bills) if bills else None,
        "proxy": answer.proxy and peer_id_text(answer.proxy),
        "worker": answer.worker and peer_id_text(answer.worker),
        "exchange": answer.exchange and answer.exchange.hex(),
        "continued_from": [part.exchange.hex() for part in answer.continued_from],
        "parts": [_part_facts(part) for part in answer.parts],
        "first_token_seconds": answer.first_token_seconds and round(answer.first_token_seconds, 4),
        "trust": answer.trust and trust_text(answer.trust),
        "is_insecure": answer.trust is not None and answer.trust.name == "SIM",
        "verdict": answer.verdict and appraisal_facts(answer.verdict),
        "proxy_verdict": answer.proxy_verdict and appraisal_facts(answer.proxy_verdict),
    }


def _part_facts(part: "AnswerPart") -> dict[str, object]:
    """Give one exchange that an answer came by, in JSON's types."""
    bill, usage = part.bill, part.usage
    return {
        "exchange": part.exchange.hex(),
        "continues": part.continues and part.continues.hex(),
        "has_lost": part.has_lost,
        "proxy": peer_id_text(part.proxy),
        "worker": peer_id_text(part.worker),
        "delivered": {"prompt_tokens": usage.prompt + usage.cached, "completion_tokens": _completion(usage)},
        "outcome": bill and bill.settlement.outcome.name.lower(),
        "charged": bill
        and {
            "prompt_tokens": bill.usage.prompt + bill.usage.cached if _is_prompt_owed(bill) else 0,
            "completion_tokens": _completion(bill.usage),
        },
        "paper": bill and ("receipt" if bill.receipt else "meter"),
        "client_paid": int(part.cost),
    }


def _completion(usage: "Usage") -> int:
    return usage.completion + usage.reasoning


def _is_prompt_owed(bill: "Bill") -> bool:
    return bill.settlement.outcome.name != "FAILED"


def appraisal_facts(verdict: "Verdict") -> dict[str, object]:
    """Give what an appraisal came to, in JSON's types: the level, each claim, and why not more."""
    return {
        "level": verdict.level and trust_text(verdict.level),
        "is_insecure": verdict.is_insecure,
        "gate": verdict.cause.gate.name.lower(),
        "cause": verdict.cause.code,
        "detail": verdict.detail,
        "vector": {claim: tri.name.lower() for claim, tri in _claims(verdict)},
        "image": verdict.image,
        "warnings": list(verdict.warnings),
    }


def _claims(verdict: "Verdict") -> "list[tuple[str, Tri]]":
    from cocoon_p2p.attestation.verdict import Claim

    return [(claim.value, verdict.vector[claim]) for claim in Claim]


def footer(answer: "Answer") -> str:
    """Say below an answer what it cost and who gave it, and on a second line what was proven about them."""
    worker = "nobody" if answer.worker is None else short_peer(answer.worker)
    trust = trust_line(answer.trust, answer.verdict)
    model = "" if answer.model is None or not answer.model.demo else "  (demo model)"
    tokens = f"{answer.usage.prompt + answer.usage.cached} + {answer.usage.completion} tokens"
    broken = "".join(map(_broken_line, answer.continued_from))
    lost = "".join(_lost_line(part) for part in answer.parts if part.has_lost)
    return f"  {format_ton(answer.cost)}  {tokens}  worker {worker}{model}\n{broken}{lost}  {trust}"


def _lost_line(part: "AnswerPart") -> str:
    """Say of a worker that was asked too, and came second, what it is paid."""
    cost = "not settled yet" if part.is_open else format_ton(part.cost)
    return f"  {short_peer(part.worker)} was asked too and was later: {cost}\n"


def _broken_line(part: "AnswerPart") -> str:
    """Say of a part that broke off what it brought, and what its paper says."""
    worker, came = short_peer(part.worker), _completion(part.usage)
    if part.bill is None:
        return f"  gone on with from {worker}, which delivered {came} tokens and is not settled yet\n"
    paper = "receipt" if part.bill.receipt else "last signed meter"
    return (
        f"  gone on with from {worker}, which delivered {came} tokens: its {paper} says"
        f" {_completion(part.bill.usage)}, {format_ton(part.cost)}\n"
    )


def trust_line(trust: "Trust | None", verdict: "Verdict | None") -> str:
    """Spell what was proven about a machine, claim by claim; what nobody knows is called unknown."""
    if trust is None:
        return "trust nothing"
    level = f"trust {trust_text(trust)}"
    if verdict is None:
        return f"{level}: nothing is known of the worker's machine"
    claims = "  ".join(f"{claim} {tri.name.lower()}" for claim, tri in _claims(verdict))
    image = f"  ({harmless(verdict.image)})" if verdict.image else ""
    mark = " INSECURE, a simulation" if verdict.is_insecure else ""
    why = "" if verdict.has_passed else f"  (gate {verdict.cause.gate.name.lower()}: {verdict.cause.code})"
    warnings = "".join(f"\n  warning: {harmless(one)}" for one in verdict.warnings)
    return f"{level}{mark}: {claims}{image}{why}{warnings}"


def offer_facts(offer: "Offered") -> dict[str, object]:
    """Give an offer in JSON's types; prices are the worker's, in nanoTON per 1,000 tokens."""
    model, price = offer.model, offer.model.price
    return {
        "model": model.name,
        "kind": model.kind.name.lower(),
        "context_tokens": model.context_tokens,
        "features": list(model.features),
        "is_demo_model": model.demo,
        "weights_hash": model.weights_hash.hex(),
        "price": {
            "prompt": price.prompt,
            "cached": price.cached,
            "completion": price.completion,
            "reasoning": price.reasoning,
        },
        "rates": model.rates and _rate_facts(model.rates),
        "commission_basis_points": offer.commission_basis_points,
        "proxy": peer_id_text(offer.proxy),
        "has_channel": offer.has_channel,
        "trust": "unknown" if offer.trust is None else trust_text(offer.trust),
        "is_insecure": offer.trust is not None and offer.trust.name == "SIM",
    }


def _rate_facts(rates: "Rates") -> dict[str, float | None]:
    """Give what a worker says of its speed, in tokens per second: its word, which nobody vouches for."""
    return {
        "prefill": rates.prefill_milli / 1000,
        "decode": rates.decode_milli and rates.decode_milli / 1000,
        "decode_at_full_load": rates.decode_full_milli and rates.decode_full_milli / 1000,
    }


def _offered_trust(trust: "Trust | None") -> str:
    if trust is None:
        return "unknown"
    return f"{trust_text(trust)} INSECURE" if trust.name == "SIM" else trust_text(trust)


def offer_table(offers: "tuple[Offered, ...]") -> None:
    """Print offers as a table on stdout."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name in ("model", "kind", "context", "prompt", "completion", "commission", "trust", "proxy"):
        table.add_column(name, justify="right" if name in ("context", "prompt", "completion") else "left")
    for offer in offers:
        model = offer.model
        table.add_row(
            escape(harmless(model.name)) + (" (demo)" if model.demo else ""),
            model.kind.name.lower(),
            f"{model.context_tokens:,}",
            f"{model.price.prompt:,}",
            f"{model.price.completion:,}",
            f"{offer.commission_basis_points / 100:g} %",
            _offered_trust(offer.trust),
            short_peer(offer.proxy),
        )
    Console().print(table)
    Console(stderr=True).print("prices in nanoTON per 1,000 tokens, before commission", style="dim")
