"""What a yamux session has to send, and in which order it leaves.

Control frames go first, all of them. Then the streams that have something to send take turns, a
frame each, so a bulk transfer delays a short message by one frame for each other sender and no
more. FIN travels in a frame of its own: js-libp2p (@chainsafe/libp2p-yamux 8.0.1) drops the
payload of a DATA frame that carries one.
"""

from collections import deque

from cocoon_p2p.network.libp2p.yamux_frames import DATA, FIN, HEADER_SIZE_BYTES, WINDOW_UPDATE, encode
from cocoon_p2p.network.libp2p.yamux_stream import Limits, Stream

_PAYLOAD_WORTH_SENDING_BYTES = 1024


class Outbox:
    """The frames that wait, and the round of streams that wait for their turn."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.unsent_bytes = 0
        "What the streams wrote and did not send yet, over all of them."

        self._control = bytearray()
        self._senders: deque[Stream] = deque()
        self._drained: list[Stream] = []
        self._finished: list[Stream] = []

    def __bool__(self) -> bool:
        return bool(self._control or self._senders)

    @property
    def control_bytes(self) -> int:
        """How much of what waits is control frames."""
        return len(self._control)

    def put(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        """Let a control frame go next."""
        self._control += encode(kind, flags, stream_id, length)

    def queue(self, stream: Stream) -> None:
        """Give the stream a turn: it has bytes and a window for them, a FIN, or flags that it owes."""
        if not stream.is_queued:
            stream.is_queued = True
            self._senders.append(stream)

    def drop(self, stream: Stream) -> None:
        """Send nothing more of this stream."""
        self.unsent_bytes -= len(stream.unsent)
        stream.unsent = bytearray()
        stream.owed_flags = 0
        if stream.is_queued:
            stream.is_queued = False
            self._senders.remove(stream)

    def clear(self) -> None:
        """Send nothing more at all."""
        self.unsent_bytes = 0
        self._control.clear()
        self._senders.clear()

    def take(self, size_max_bytes: int) -> bytearray:
        """Take out the next bytes for the wire, empty if there are none.

        Args:
            size_max_bytes: 4 KiB at least. Control frames go whole even if they exceed it.
        """
        out, self._control = self._control, bytearray()
        while self._senders:
            # Room for a payload between its own header and that of the FIN after it.
            room = size_max_bytes - len(out) - 2 * HEADER_SIZE_BYTES
            if room < _PAYLOAD_WORTH_SENDING_BYTES:
                break
            stream = self._senders.popleft()
            self._send(stream, out, room)
            if stream.unsent and stream.send_window_bytes:
                self._senders.append(stream)
            else:
                stream.is_queued = False
        return out

    def drained(self) -> list[Stream]:
        """Return the streams whose writer was turned away and that have found room since last asked."""
        drained, self._drained = self._drained, []
        return drained

    def finished(self) -> list[Stream]:
        """Return the streams whose FIN has left since last asked."""
        finished, self._finished = self._finished, []
        return finished

    def _send(self, stream: Stream, out: bytearray, room_bytes: int) -> None:
        """Append one frame's worth of the stream to `out`, and its FIN if nothing is left."""
        unsent = stream.unsent
        size = min(len(unsent), stream.send_window_bytes, self._limits.frame_max_bytes, room_bytes)
        flags, stream.owed_flags = stream.owed_flags, 0
        if size:
            out += encode(DATA, flags, stream.id, size)
            flags = 0
            if size == len(unsent):
                out += unsent
                stream.unsent = bytearray()
            else:
                with memoryview(unsent) as view:
                    out += view[:size]
                del unsent[:size]
            stream.send_window_bytes -= size
            self.unsent_bytes -= size
            if stream.was_full:
                stream.was_full = False
                self._drained.append(stream)
        if stream.fin_wanted and not stream.unsent and not stream.fin_sent:
            flags |= FIN
            stream.fin_sent = True
            self._finished.append(stream)
        if flags:
            out += encode(WINDOW_UPDATE, flags, stream.id, 0)
