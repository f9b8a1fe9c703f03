"""A worker's sealing sessions, by the proxy they came through, and how many it will make."""

from collections import OrderedDict
from dataclasses import dataclass, field

from cocoon_p2p.errors import Refused
from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import HELLOS_PER_SECOND, SESSIONS_MAX, Reason
from cocoon_p2p.sealing.session import Session


@dataclass(slots=True)
class _Proxy:
    """What one proxy has here."""

    hellos: float
    "Handshakes it may ask for at once: a bucket that fills at `HELLOS_PER_SECOND`."

    filled: float
    sessions: OrderedDict[bytes, Session] = field(default_factory=OrderedDict[bytes, Session])
    "Least recently used first."


class SessionTable:
    """Keeps sessions apart by proxy, so that no proxy can use, count or crowd out another's.

    Above `sessions_max` the least recently used session of the same proxy is forgotten; its
    client is told `session unknown` and makes a new one. What runs in it goes on.
    """

    __slots__ = ("_hellos_per_second", "_proxies", "_sessions_max")

    def __init__(
        self, *, sessions_max: int = SESSIONS_MAX, hellos_per_second: float = HELLOS_PER_SECOND
    ) -> None:
        self._sessions_max = sessions_max
        self._hellos_per_second = hellos_per_second
        self._proxies: dict[PeerId, _Proxy] = {}

    def admit_hello(self, proxy: PeerId, *, now: float) -> None:
        """Count a Hello, before any work is done for it. `now` is in seconds, of any clock.

        Raises:
            Refused: `rate-limited`: this proxy asked for too many handshakes. `retry_after` says
                when the next one is welcome.
        """
        entry = self._entry(proxy, now)
        elapsed = max(0.0, now - entry.filled)
        entry.hellos = min(self._hellos_per_second, entry.hellos + elapsed * self._hellos_per_second)
        entry.filled = now
        if entry.hellos < 1:
            raise Refused(
                f"rate limited: too many handshakes (max={self._hellos_per_second} a second)",
                code=Reason.RATE_LIMITED.code,
                retry_after=(1 - entry.hellos) / self._hellos_per_second,
            )
        entry.hellos -= 1

    def keep(self, proxy: PeerId, session: Session, *, now: float) -> None:
        """Keep a new session that came through `proxy`. `now` is in seconds since the Unix epoch."""
        sessions = self._entry(proxy, now).sessions
        assert session.id not in sessions, "session ids are drawn at random and never again"
        for session_id in [key for key, kept in sessions.items() if kept.expires <= now]:
            del sessions[session_id]
        sessions[session.id] = session
        if len(sessions) > self._sessions_max:
            sessions.popitem(last=False)

    def find(self, proxy: PeerId, session_id: bytes, *, now: float) -> Session:
        """Give the session that a Part names. `now` is in seconds since the Unix epoch.

        Raises:
            Refused: `session-unknown`: none of this proxy's, forgotten, or expired. A new Hello mends it.
        """
        entry = self._proxies.get(proxy)
        session = entry.sessions.get(session_id) if entry is not None else None
        if entry is None or session is None or session.expires <= now:
            raise Refused(
                f"session unknown: make a new one (session={session_id[:4].hex()})",
                code=Reason.SESSION_UNKNOWN.code,
                retry_after=0,
            )
        entry.sessions.move_to_end(session_id)
        return session

    def forget(self, proxy: PeerId) -> None:
        """Drop all that is kept for a proxy that will not come back."""
        self._proxies.pop(proxy, None)

    def _entry(self, proxy: PeerId, now: float) -> _Proxy:
        entry = self._proxies.get(proxy)
        if entry is None:
            entry = self._proxies[proxy] = _Proxy(self._hellos_per_second, now)
        return entry
