"""Makers of evidence: how this machine proves itself, on the hardware that can.

A machine measures (extends RTMR3 with what decides who can read a prompt, once a boot and
before its keys are born) and quotes (has 64 bytes signed). `configfs` asks the kernel, `dstack`
asks dstack's agent; for demos `simulator` asks nobody.
"""

from typing import Protocol

from cocoon_p2p.attestation.events import replay
from cocoon_p2p.attestation.evidence import (
    TDX,
    TDX_GPU,
    Evidence,
    GpuEvidence,
    RuntimeEvent,
    encode_evidence,
    gpu_nonce,
    report_data,
)
from cocoon_p2p.attestation.quote import claimed_report_data, claimed_rtmr3
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import NetworkId
from cocoon_p2p.protocols.messages import Signed


class Machine(Protocol):
    """A TDX domain, from the inside."""

    async def measure(self, event: RuntimeEvent) -> None:
        """Extend RTMR3 with an event, unless this boot has measured the very same one already.

        A cancel leaves it measured or not; asking again is harmless.

        Raises:
            ConfigurationError: This boot has measured an event of this name with another payload,
                or RTMR3 holds what no log explains. Only a reboot helps.
            Unavailable: The machine has no such register, or does not let us at it.
        """
        ...

    async def quote(self, data: bytes) -> tuple[bytes, tuple[RuntimeEvent, ...]]:
        """Have 64 bytes signed, and give the quote and the log behind RTMR3. A cancel leaves nothing.

        Raises:
            Unavailable: The machine gives no quote now.
        """
        ...


class GpuReader(Protocol):
    """The GPUs of this machine."""

    async def read(self, nonce: bytes) -> tuple[GpuEvidence, ...]:
        """Have each GPU sign a 32-byte nonce. Raises `Unavailable`."""
        ...


async def attest(
    machine: Machine, statement: Signed, network: NetworkId, *, gpus: GpuReader | None = None
) -> bytes:
    """Make evidence for a key statement. A cancel leaves nothing behind.

    What goes to verifiers is looked at first: a machine that quotes other bytes, or has
    measured what its log does not say, would only ever be refused by others.

    Raises:
        Unavailable: The machine or a GPU does not answer, or answers for something else.
    """
    data = report_data(network, statement)
    quote, events = await machine.quote(data)
    if claimed_report_data(quote) != data:
        raise Unavailable("the machine quoted other bytes than it was given")
    if claimed_rtmr3(quote) != replay(events):
        raise Unavailable("the machine has measured what its log does not say (register=rtmr3)")
    shown = () if gpus is None else await gpus.read(gpu_nonce(data))
    return encode_evidence(Evidence(type=TDX_GPU if shown else TDX, events=events, gpus=shown, quote=quote))
