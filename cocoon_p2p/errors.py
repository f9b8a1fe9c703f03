"""Every error the library raises on purpose.

Ask two questions before you add one: who was at fault, and what can the caller
do about it? The first picks the base class, the second the attributes.

    CocoonError
    |- LocalProtocolError    our own code asked for a step not allowed here: a bug
    |- ConfigurationError    the person who runs this node wrote something that cannot be
    |- RemoteProtocolError   the peer sent what is not allowed here: drop it, count it
    |  |- MalformedMessage, VoucherRejected, SealBroken, RecordRejected
    |  |  |- Miscounted      its counts contradict each other, or what we can count ourselves
    |- AttestationFailed     the peer may be honest, its evidence does not satisfy the policy
    |  |- PolicyRejected     the policy itself is not the one that the user pinned: nothing passes
    |- Unavailable           the world: no worker, no route; trying again may help
    |- Refused               a peer said no, with its reason code
    |- AnswerBroken          an answer began, and the rest will not come
"""

from cocoon_p2p.units import Nano


class CocoonError(Exception):
    """Base of them all. Catch it at the edge of an application, never inside.

    Attributes:
        code: A stable word for programs (`no-capacity`); the text is for people.
        hint: What the person who reads it can do, one sentence, or empty.
        charged: What the failed request has cost so far, in nanoTON.
        retry_after: Seconds after which trying again may help, or None.
    """

    code = "error"

    def __init__(
        self, message: str, *, hint: str = "", charged: Nano = Nano(0), retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.charged = charged
        self.retry_after = retry_after


class LocalProtocolError(CocoonError):
    """Our own code asked for a step the protocol does not allow here. A bug."""

    code = "local-protocol-error"


class ConfigurationError(CocoonError):
    """What the operator or the application configured cannot be: the text says where and why."""

    code = "configuration"


class RemoteProtocolError(CocoonError):
    """The peer sent something the protocol does not allow here."""

    code = "remote-protocol-error"


class MalformedMessage(RemoteProtocolError):
    """The bytes are not a message of the protocol (wrong type, too long, not deterministic)."""

    code = "malformed-message"


class VoucherRejected(RemoteProtocolError):
    """A voucher does not move the channel forward, or is not what it claims.

    Attributes:
        claimed: The cumulative amount on the voucher, in nanoTON.
        paid: The highest amount accepted before it, in nanoTON.
    """

    code = "voucher-rejected"

    def __init__(self, reason: str, *, claimed: int, paid: int) -> None:
        super().__init__(f"voucher rejected: {reason} (claimed={claimed} paid={paid} nanoTON)")
        self.claimed = claimed
        self.paid = paid


class SealBroken(RemoteProtocolError):
    """Sealed bytes do not open: altered, replayed, reordered, truncated, or for another session."""

    code = "seal-broken"


class RecordRejected(RemoteProtocolError):
    """A signed record, key statement or quote is not what it claims, or its time has passed."""

    code = "record-rejected"


class Miscounted(RecordRejected):
    """A peer's token counts contradict each other, or what the client can count by itself.

    Attributes:
        is_by_worker: Whether the worker itself sealed or signed what contradicts; else the proxy may
            have altered or held back something on the way.
        papers: What was signed of it: a `messages.Signed` each.
    """

    code = "miscounted"

    def __init__(self, message: str, *, is_by_worker: bool, papers: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.is_by_worker = is_by_worker
        self.papers = papers


class AttestationFailed(CocoonError):
    """The peer may be honest, but what it proved does not satisfy the policy asked for.

    Attributes:
        peer: Whose evidence it was (a peer id's bytes), where that is known.
    """

    code = "attestation-failed"

    def __init__(self, message: str, *, hint: str = "", peer: bytes | None = None) -> None:
        super().__init__(message, hint=hint)
        self.peer = peer


class PolicyRejected(AttestationFailed):
    """The appraisal policy is not signed as pinned, older than one seen, expired, or not to be read."""

    code = "policy-rejected"


class Unavailable(CocoonError):
    """The world stands in the way: no worker, no route, a lost connection. Trying again may help."""

    code = "unavailable"


class Refused(CocoonError):
    """A peer said no. `code` is the name of its reason code (`protocols/ids.py`).

    Attributes:
        candidates: For each worker that was considered and left out, its short peer id and why.
    """

    code = "refused"

    def __init__(
        self,
        message: str,
        *,
        code: str,
        hint: str = "",
        charged: Nano = Nano(0),
        retry_after: float | None = None,
        candidates: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, hint=hint, charged=charged, retry_after=retry_after)
        self.code = code
        self.candidates = candidates


class AnswerBroken(CocoonError):
    """An answer began, and the rest will not come. `code` says why, where that is known.

    Attributes:
        text: What was delivered of it.
    """

    code = "answer-broken"

    def __init__(
        self,
        message: str,
        *,
        code: str = "answer-broken",
        hint: str = "",
        charged: Nano = Nano(0),
        retry_after: float | None = None,
        text: str = "",
    ) -> None:
        super().__init__(message, hint=hint, charged=charged, retry_after=retry_after)
        self.code = code
        self.text = text
