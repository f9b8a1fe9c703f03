"""A worker's standing with one proxy: dial it, register, tell it the load, and come back.

    DIALLING --connected--> REGISTERING --Registered--> STANDING
       ^                        |                          |
       +------ after a pause ---+------- lost, refused ----+

Workers only dial out, so the proxy's exchanges come over the connection that is made here.

Spec: protocols/session.md.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from cocoon_p2p.attestation.proving import Proving
from cocoon_p2p.attestation.verdict import Verdict
from cocoon_p2p.errors import AttestationFailed, Refused, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.protocols.ids import (
    FRAME_SIZE_MAX_NEWCOMER_BYTES,
    HEARTBEAT_SECONDS,
    SESSION,
    TAKE_SECONDS,
    Role,
    Trust,
)
from cocoon_p2p.protocols.messages import Chances, Drain, Load, Register, Registered, SessionRefused
from cocoon_p2p.worker.papers import Papers
from cocoon_p2p.worker.slots import Slots

log = logging.getLogger(__name__)

REDIAL_FIRST_SECONDS = 1.0
REDIAL_LAST_SECONDS = 60.0
"Pauses double from the first to the last, and start again once a proxy has taken the record."

REGISTER_SECONDS = 10.0
"How long a proxy may take to answer a Register."

LOAD_PAUSE_SECONDS = 0.05
"Changes of load that come closer together travel as one."


@dataclass(slots=True)
class ProxyStanding:
    """How one proxy takes us, shared with whoever shows it."""

    peer: PeerId
    addresses: Sequence[str]
    is_registered: bool = False
    is_admitted: bool = False
    "Whether it has proven what is asked of proxies. Before that it gets nothing from us."

    since: float = 0.0
    "On trio's clock: when `is_registered` turned last, or when it was joined."

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    "Cancel it to leave this proxy."

    trouble: str = ""
    "Why it did not take us, or was lost, the last time. A peer's word: escape it where it is shown."

    chances: Chances | None = None
    "What it told last of our chances there."

    chances_at: float = 0.0
    "When that was, on trio's clock."

    changed: trio.Event = field(default_factory=trio.Event)
    "Set when `is_registered` turns, and replaced by then: take it before you look."

    moved: trio.Event = field(default_factory=trio.Event)
    "Set when `addresses` turn out to be others, and replaced by then: take it before you use them."

    def move(self, addresses: Sequence[str]) -> None:
        """Note where the proxy says that it is now."""
        if list(addresses) != list(self.addresses):
            self.addresses = addresses
            self.moved.set()
            self.moved = trio.Event()

    def take(self, chances: Chances | None) -> None:
        """Take note of what a proxy says of our chances. It is its word, and changes nothing here."""
        if chances is not None:
            self.chances, self.chances_at = chances, trio.current_time()

    def turn(self, is_registered: bool) -> None:
        if is_registered is not self.is_registered:
            self.is_registered = is_registered
            self.since = trio.current_time()
            self.changed.set()
            self.changed = trio.Event()


async def stay_registered(
    standing: ProxyStanding,
    transport: Transport,
    papers: Papers,
    slots: Slots,
    *,
    proving: Proving | None = None,
    draw: Callable[[int], bytes],
) -> None:
    """Keep a session with one proxy for ever. A cancel ends it without a word.

    Where proxies must prove something, nothing is said to one before it has.
    """
    pause = REDIAL_FIRST_SECONDS
    proxy = peer_id_text(standing.peer)
    while True:
        moved = standing.moved
        try:
            if not transport.is_connected(standing.peer):
                await transport.dial(standing.addresses)
            await _meet(standing, transport, papers, slots, proving)
        except* (Unavailable, Refused, RemoteProtocolError, AttestationFailed) as group:
            standing.trouble = str(group.exceptions[0])
            log.info("proxy lost", extra={"proxy": proxy, "why": standing.trouble})
        was_registered = standing.is_registered
        standing.is_admitted = False
        standing.turn(False)
        pause = REDIAL_FIRST_SECONDS if was_registered else min(2 * pause, REDIAL_LAST_SECONDS)
        # Half of it by chance: a proxy that comes back is not stormed by all its workers at once.
        with trio.move_on_after(pause * (1 + draw(1)[0] / 255) / 2):
            await moved.wait()
            # That nobody answered at the old place says nothing of the new one.
            pause = REDIAL_FIRST_SECONDS


async def _meet(
    standing: ProxyStanding, transport: Transport, papers: Papers, slots: Slots, proving: Proving | None
) -> None:
    """Have a connected proxy prove itself, stand with it, and have it prove itself again when that lapses."""
    asked = Trust.OPEN if proving is None else proving.asked_of_proxies
    if proving is None or asked is Trust.OPEN:
        standing.is_admitted = True
        await _stand(standing, transport, papers, slots)
        return
    verdict = await proving.doorkeeper.admit(standing.peer, Role.PROXY, asked)
    standing.is_admitted = True
    async with trio.open_nursery() as nursery:

        async def watch(verdict: Verdict) -> None:
            while True:
                await proving.doorkeeper.wait_lapsed(verdict)
                verdict = await proving.doorkeeper.admit(standing.peer, Role.PROXY, asked)

        nursery.start_soon(watch, verdict)
        await _stand(standing, transport, papers, slots)


async def _open(standing: ProxyStanding, transport: Transport) -> MessageStream:
    return MessageStream(
        await transport.open_stream(standing.peer, SESSION),
        frame_size_max_bytes=FRAME_SIZE_MAX_NEWCOMER_BYTES,
    )


async def _stand(standing: ProxyStanding, transport: Transport, papers: Papers, slots: Slots) -> None:
    """Keep a session until it is lost, which always raises. It moves to a better connection when one stands.

    The old stream ends only when the proxy has taken our record on the new one, so that it is never
    without us; it takes the newest for the one that counts.
    """
    left: MessageStream | None = None
    try:
        while True:
            session = _Session(standing, await _open(standing, transport), papers, slots)
            left = await session.run(instead_of=left)
    finally:
        if left is not None:
            left.reset()


class _Session:
    """One session stream."""

    def __init__(self, standing: ProxyStanding, stream: MessageStream, papers: Papers, slots: Slots) -> None:
        self._standing = standing
        self._stream = stream
        self._papers = papers
        self._slots = slots
        self._registered = trio.Event()
        self._superseded = trio.Event()

    async def run(self, *, instead_of: MessageStream | None) -> MessageStream:
        """Speak and listen until the session is lost, which raises, or a better connection stands.

        Args:
            instead_of: The session's stream until now; reset once this one is taken.

        Returns:
            The stream, left open for whoever takes over.
        """
        is_left = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen)
                nursery.start_soon(self._speak)
                with trio.move_on_after(REGISTER_SECONDS):
                    await self._registered.wait()
                if not self._registered.is_set():
                    raise Unavailable("the proxy does not answer a Register")
                if instead_of is not None:
                    instead_of.reset()
                await self._superseded.wait()
                is_left = True
                nursery.cancel_scope.cancel()
        finally:
            if not is_left:
                self._stream.reset()
        return self._stream

    async def _listen(self) -> None:
        proxy = peer_id_text(self._standing.peer)
        while True:
            match await self._stream.receive():
                case Registered(sequence=sequence, chances=chances):
                    if sequence > self._papers.sequence:
                        raise RemoteProtocolError("Registered: a record that we never sent")
                    if not self._standing.is_registered:
                        log.info("registered", extra={"proxy": proxy, "sequence": sequence})
                    self._standing.turn(True)
                    self._standing.take(chances)
                    self._registered.set()
                case Drain():
                    log.info("proxy drains", extra={"proxy": proxy})
                case SessionRefused(reason=reason, detail=detail):
                    raise Refused(f"the proxy refuses us: {detail}", code=reason.code)
                case None:
                    raise Unavailable("the proxy closed the session")
                case message:
                    raise RemoteProtocolError(f"{type(message).__name__}: nothing that a proxy sends here")

    async def _speak(self) -> None:
        """Tell the load when it changes, and each second; a new record goes with the next one."""
        sent, is_drain_told = -1, False
        while True:
            changed = self._slots.changed
            messages: list[object] = []
            if self._papers.sequence != sent:
                sent = self._papers.sequence
                messages.append(Register(self._papers.record, self._papers.statement))
            if self._slots.is_draining and not is_drain_told:
                is_drain_told = True
                messages.append(Drain("the worker is going away"))
            free = 0 if self._slots.is_draining else self._slots.free
            messages.append(Load(free, self._slots.total, 0))
            await self._send(messages)
            await trio.sleep(LOAD_PAUSE_SECONDS)
            with trio.move_on_after(HEARTBEAT_SECONDS - LOAD_PAUSE_SECONDS):
                await changed.wait()
            if self._registered.is_set() and self._stream.is_superseded:
                self._superseded.set()
                return

    async def _send(self, messages: Sequence[object]) -> None:
        try:
            with trio.fail_after(TAKE_SECONDS):
                await self._stream.send(*messages)
        except trio.TooSlowError as exc:
            raise Unavailable("the proxy reads nothing") from exc
