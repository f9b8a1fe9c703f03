"""One yamux stream as plain state, and the limits that every stream lives under.

The two windows are the whole of flow control. `send_window_bytes` is what the peer still lets us
send; `receive_window_bytes` is what we still let the peer send, and what we enforce. Ours is
refilled once half of it has been read, and doubled on the way if that half took less than
four round trips: then the window, and not the network, was the brake.
"""

from dataclasses import dataclass, field
from typing import Protocol

from cocoon_p2p.network.libp2p.yamux_frames import WINDOW_INITIAL_BYTES


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may cost us, whatever its peer does."""

    window_max_bytes: int = 4 << 20
    "No window grows beyond this: 100 MB/s at a round trip of 40 ms."

    growth_max_bytes: int = 8 << 20
    "All growth of a connection's windows beyond their first 256 KiB, together."

    unread_max_bytes: int = 16 << 20
    """Received and not yet read, over all streams. Above it the fullest stream is reset. It leaves
    room for all the growth and 32 streams that nobody reads at all."""

    inbound_max: int = 1024
    "Streams that the peer may have open. go-libp2p and js-libp2p allow 1,000."

    outbound_max: int = 512
    "Streams that we have open at most; an open beyond it waits. Half of what other peers allow."

    unacknowledged_max: int = 256
    "Of those, streams the peer has not accepted yet: hashicorp's accept backlog."

    turn_frames: int = 256
    "Frames that are taken in before other connections have their turn: a millisecond, or 32 KiB of headers."

    turn_streams: int = 1
    """The same of streams that the peer opens or resets: one costs a quarter of a millisecond before it says
    a word, and as much when it is reset; a turn costs a tenth of that."""

    frame_max_bytes: int = 32 * 1024
    "Payload of one DATA frame of ours, so that a large write does not hold up small ones."

    unsent_max_bytes: int = 256 * 1024
    "Written and not yet sent, a stream. A write beyond it waits."

    control_max_bytes: int = 64 * 1024
    "Unsent answers and resets. A peer that makes us owe more does not read what it asked for."

    linger_seconds: float = 60.0
    "How long a stream that we closed waits for the peer to take our last bytes and close its side."


class Waker(Protocol):
    """Whom to wake when a stream changes. The machine keeps it for the shell and never calls it."""

    def wake_reader(self) -> None:
        """Let whoever waits for bytes look again."""
        ...

    def wake_writer(self) -> None:
        """Let whoever waits for room look again."""
        ...


@dataclass(slots=True, eq=False)
class Stream:
    """A stream's state. Read it freely; only `yamux.Session` changes it."""

    id: int
    owed_flags: int
    "SYN or ACK until a frame has carried it, then 0."

    refilled_at: float
    "When the peer was last given credit."

    unread: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)

    send_window_bytes: int = WINDOW_INITIAL_BYTES
    receive_window_bytes: int = WINDOW_INITIAL_BYTES
    receive_window_full_bytes: int = WINDOW_INITIAL_BYTES
    "What `receive_window_bytes` is refilled to."

    is_acknowledged: bool = False
    fin_wanted: bool = False
    "We write no more; the FIN leaves after what is still unsent."

    fin_sent: bool = False
    fin_received: bool = False
    was_reset: bool = False
    closed_at: float | None = None
    "When we last had a reason to wait for the peer, on a stream that we closed both ways."

    is_queued: bool = False
    "Has its turn coming in the round of senders."

    was_full: bool = False
    "A writer was turned away and wants to be woken."

    waker: Waker | None = None
