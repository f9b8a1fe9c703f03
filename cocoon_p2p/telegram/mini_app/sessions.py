"""Who is at the door: sessions in memory, each with its user, its proof's nonce and its wallet.

A session begins with init data that was judged and is known by a token that only its page has. Nothing of it
is written down: after a restart pages begin again, as they do when Telegram opens them. What is
kept is the token's hash, so that looking one up takes no longer for a better guess.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from cocoon_p2p.errors import RecordRejected, Refused
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.telegram.mini_app.init_data import MiniAppUser

SESSION_SECONDS = 6 * 3600.0
SESSIONS_MAX = 10_000
"All told; the one that was used longest ago makes room. One takes about a kilobyte."

SESSIONS_PER_USER_MAX = 4
"A phone, a desk, and pages that were opened again."

NONCE_SECONDS = 600.0
"How long a wallet's owner may look at the request before agreeing to it."

TOKEN_MAX_LETTERS = 128
_TOKEN_BYTES = 32


@dataclass(slots=True)
class Session:
    """One page that is open at somebody's."""

    user: MiniAppUser
    begun_at: float
    "Seconds since the Unix epoch, as all times here."

    nonce: str = ""
    "What the next proof must be over; empty: none was given out, or it was shown."

    nonce_at: float = 0.0
    wallet: AccountId | None = None
    "The user's, once it has proven itself."


class Sessions:
    """All sessions of one door.

    Args:
        draw: Draws random bytes.
        sessions_max: How many there may be.
    """

    def __init__(self, draw: Callable[[int], bytes], *, sessions_max: int = SESSIONS_MAX) -> None:
        self._draw = draw
        self._sessions_max = sessions_max
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        "By the hashes of their tokens; what was used last is last."

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, user: MiniAppUser, now: float) -> tuple[str, Session]:
        """Begin a session, and give its token, which is not kept."""
        theirs = [key for key, one in self._sessions.items() if one.user.id == user.id]
        for key in theirs[: max(len(theirs) + 1 - SESSIONS_PER_USER_MAX, 0)]:
            del self._sessions[key]
        token, session = self._draw(_TOKEN_BYTES).hex(), Session(user, now)
        self._sessions[_name(token)] = session
        if len(self._sessions) > self._sessions_max:
            self._sessions.popitem(last=False)
        return token, session

    def find(self, token: str, now: float) -> Session:
        """Find the session that a page belongs to.

        Raises:
            Refused: There is none (`session`), or it is too old.
        """
        key = _name(token[: TOKEN_MAX_LETTERS + 1])
        session = self._sessions.get(key)
        if session is not None and now <= session.begun_at + SESSION_SECONDS:
            self._sessions.move_to_end(key)
            return session
        self._sessions.pop(key, None)
        raise Refused("no session", code="session", hint="open the Mini App again, from its bot")

    def challenge(self, session: Session, now: float) -> str:
        """Give out a nonce for a proof, in the place of one that was given out before."""
        session.nonce, session.nonce_at = self._draw(_TOKEN_BYTES).hex(), now
        return session.nonce


def take_nonce(session: Session, now: float) -> str:
    """Give the nonce that a proof must be over. It is good once: whatever comes of the proof, it is gone.

    Raises:
        RecordRejected: None was given out, one was taken already, or it is too old.
    """
    nonce, session.nonce = session.nonce, ""
    if not nonce or now > session.nonce_at + NONCE_SECONDS:
        raise RecordRejected("wallet proof: no payload is waiting for one", hint=_ASK_AGAIN)
    return nonce


_ASK_AGAIN = "ask for a new payload and connect the wallet again"


def _name(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
