"""What an image measured of its configuration before its keys were born.

Attested code that may be told where to send prompts attests nothing. So an image extends
RTMR3 with the few settings on which privacy hangs, and its key statement names their hash.
The appraisal reads them from the log, under the register that the hardware signed.

Spec: protocols/evidence.md (The measured configuration).
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated

from cocoon_p2p.attestation.evidence import RuntimeEvent
from cocoon_p2p.protocols.messages import AHash, AToken
from cocoon_p2p.protocols.schema import Key, Max, decode_paper, encode_paper

CONFIGURATION_EVENT = "cocoon-configuration"
"The name of the event; its payload is the configuration's one spelling."

GPU_ENGINES = frozenset({"exllama"})
"Engines that cannot do without a GPU, whatever the configuration says."

# Addresses only: what a name leads to is decided by a resolver that nobody measured. No user
# part and no backslash, over which URL readers disagree.
_LOOPBACK_URL = re.compile(
    r"https?://(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?(/[A-Za-z0-9._~/-]*)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class MeasuredConfiguration:
    """The settings of a worker that decide who can read a prompt."""

    engine: Annotated[AToken, Key(1)]
    "The kind: `llamacpp`, `exllama`, `upstream`."

    weights_hash: Annotated[AHash, Key(2)]
    "What the engine has loaded; the offers in the worker's record must name the same."

    upstream: Annotated[str, Key(3), Max(256)]
    "Where prompts are sent on to; empty where the engine is in the same process."

    log_level: Annotated[AToken, Key(4)]
    uses_gpu: Annotated[bool, Key(5)]

    @property
    def needs_gpu_evidence(self) -> bool:
        return self.uses_gpu or self.engine in GPU_ENGINES


def configuration_event(configuration: MeasuredConfiguration) -> RuntimeEvent:
    """Give the event that an image extends RTMR3 with.

    Raises:
        LocalProtocolError: A field is outside its bound.
    """
    return RuntimeEvent(CONFIGURATION_EVENT, encode_paper(configuration))


def configuration_hash(event: RuntimeEvent) -> bytes:
    """Name a configuration the way `KeyStatement.configuration_hash` does."""
    return hashlib.sha256(event.payload).digest()


def read_configuration(event: RuntimeEvent) -> MeasuredConfiguration:
    """Read the configuration out of its event. Raises `MalformedMessage` when it is none."""
    return decode_paper(MeasuredConfiguration, event.payload)


def stays_inside(upstream: str) -> bool:
    """Say whether prompts stay in the measured machine: no upstream, or one at a loopback address."""
    return upstream == "" or _LOOPBACK_URL.fullmatch(upstream) is not None
