"""RTMR3: the register that grows while a measured machine runs, recomputed from its log.

Every event is hashed anew from its name and payload; a digest that somebody else wrote down
is never taken. The digest is dstack's, so that machines under dstack and our own images are
read alike:

    digest = SHA-384(0x08000001 as 4 bytes, low first | ":" | name | ":" | payload)
    RTMR3  = SHA-384(RTMR3 before | digest), from 48 zero bytes

Names hold no colon (`evidence`), or one digest could be read as two different events.

Spec: Intel TDX module, TDG.MR.RTMR.EXTEND; dstack, cc-eventlog.
"""

import hashlib
from collections.abc import Iterable

from cocoon_p2p.attestation.evidence import RuntimeEvent

EVENT_TYPE = 0x08000001
"dstack's runtime events; other events have other digests and other registers."

REGISTER_SIZE_BYTES = 48
REGISTER_AT_BOOT = bytes(REGISTER_SIZE_BYTES)


def event_digest(event: RuntimeEvent) -> bytes:
    """Give the 48 bytes that this event extends RTMR3 with."""
    parts = (EVENT_TYPE.to_bytes(4, "little"), event.name.encode(), event.payload)
    return hashlib.sha384(b":".join(parts)).digest()


def replay(events: Iterable[RuntimeEvent]) -> bytes:
    """Give the value that RTMR3 has after these events."""
    register = REGISTER_AT_BOOT
    for event in events:
        register = hashlib.sha384(register + event_digest(event)).digest()
    return register
