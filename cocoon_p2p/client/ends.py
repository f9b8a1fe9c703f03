"""What the application is told when something else comes than the whole answer."""

from collections.abc import Iterable, Mapping

from cocoon_p2p.errors import AttestationFailed, CocoonError, Refused
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.protocols import messages
from cocoon_p2p.protocols.contents import RequestContent
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.units import Nano

HINTS: Mapping[Reason, str] = {
    Reason.UNKNOWN_MODEL: "`cocoon models` lists what can be bought",
    Reason.NO_CAPACITY: "try again in a moment; all workers are busy",
    Reason.PRICE_ABOVE_LIMIT: "raise the request's max cost, or shorten its prompt",
    Reason.TRUST_BELOW_REQUEST: "ask for less trust, or for a model that attested workers offer",
    Reason.NO_CREDIT: "open a larger channel, or lower the request's max cost",
    Reason.TOO_LARGE: "shorten the prompt, or ask for fewer tokens",
    Reason.UNKNOWN_FEATURE: "leave the feature out, or ask for a model that has it",
    Reason.OTHER_WEIGHTS: "leave the weights open, or ask for those that are offered",
    Reason.DEADLINE: "allow more time",
    Reason.DRAINING: "try again; another node will take it",
}


def refusal_error(refusal: messages.Refused) -> Refused:
    """Spell a peer's refusal for the application. Nothing was charged."""
    reason = refusal.reason
    wait_ms = refusal.retry_after_ms
    return Refused(
        printable(refusal.detail) or reason.code.replace("-", " "),
        code=reason.code,
        hint=HINTS.get(reason, ""),
        retry_after=None if wait_ms is None else wait_ms / 1000,
        candidates=tuple(_spell(candidate) for candidate in refusal.candidates),
    )


def not_offered(asked: RequestContent, records: Iterable[messages.Record]) -> Refused:
    """Say that no proxy's record offers what is asked for, and what they offer."""
    kinds = {model.name: model.kind.name.lower() for record in records for model in record.models}
    if asked.model in kinds:
        return Refused(
            f"unsupported kind: {asked.kind.name.lower()} "
            f"(model={asked.model} offered_for={kinds[asked.model]})",
            code=Reason.UNSUPPORTED_KIND.code,
        )
    return Refused(
        f"unknown model: no proxy offers it (model={asked.model})",
        code=Reason.UNKNOWN_MODEL.code,
        hint=f"offered are: {', '.join(sorted(kinds)[:8]) or 'none'}",
    )


def more_telling(failure: CocoonError | None, error: CocoonError) -> CocoonError:
    """Choose what to say in the end: what a peer said no to or did not prove, not what followed from that."""
    if failure is None:
        return error
    is_by_us = error.code == Reason.EXCLUDED.code
    return error if _weight(error) >= _weight(failure) and not is_by_us else failure


def _weight(error: CocoonError) -> int:
    return 2 if isinstance(error, Refused) else isinstance(error, AttestationFailed)


def _spell(candidate: messages.Candidate) -> str:
    numbers = (("asked", candidate.asked), ("offered", candidate.offered))
    facts = " ".join(f"{name}={value}" for name, value in numbers if value is not None)
    return f"{short(PeerId(candidate.worker))}: {candidate.reason.code}" + (f" ({facts})" if facts else "")


def short(peer: PeerId) -> str:
    """Name a peer so that people can tell it from others: the end of its id, since all begin alike."""
    return peer_id_text(peer)[-8:]


def printable(text: str) -> str:
    """Make a peer's words safe to show: no control characters, no line ends."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def charge_to(error: CocoonError, charged: int) -> CocoonError:
    """Note on an error what the request has cost all the same."""
    error.charged = Nano(error.charged + charged)
    return error
