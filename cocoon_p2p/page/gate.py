"""Who may have something done: whoever can read a file of the node's, which its owner can.

The token is made once and lies in the data folder, for its owner alone (0600). It is compared in constant
time, and wrong ones are heard so often and no more.
"""

import hmac
import secrets
from collections.abc import Callable
from pathlib import Path

from cocoon_p2p import private_files
from cocoon_p2p.errors import ConfigurationError, Refused

TOKEN_FILE = "page-token"  # noqa: S105 (its name)
TOKEN_BYTES = 32
_TOKEN_MIN_LETTERS = 32
"One that somebody wrote by hand is to be as hard to guess."

TRIES_MAX = 5
TRIES_SECONDS = 60.0
"So many wrong tokens in so long; then nobody is heard until it is over."


def keep_token(folder: Path) -> str:
    """Give the token in a data folder, and make it if there is none.

    Raises:
        ConfigurationError: Others can read the file, it cannot be used, or what it holds is too short.
    """
    path = folder / TOKEN_FILE
    try:
        token = private_files.read(path).decode("ascii", "replace").strip()
    except FileNotFoundError:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        # Whole, or not at all: half of one would keep the page away until somebody removed it.
        private_files.replace(path, token.encode() + b"\n")
    if len(token) < _TOKEN_MIN_LETTERS or not token.isascii():
        raise ConfigurationError(
            f"{path} holds no token (min={_TOKEN_MIN_LETTERS} letters of ASCII)",
            hint="remove it: another one is made when the node starts",
        )
    return token


class Gate:
    """Lets the token pass.

    Args:
        token: The right one.
        steady: Seconds on a clock that never goes back.
    """

    def __init__(self, token: str, steady: Callable[[], float]) -> None:
        self._token = token.encode()
        self._steady = steady
        self._wrong: list[float] = []
        "When the last wrong ones came, the oldest first."

    def judge(self, said: str) -> None:
        """Let somebody pass, or not.

        Raises:
            Refused: It is not the token (`wrong-token`), or too many were not (`too-many-tries`, with the
                seconds to wait).
        """
        now = self._steady()
        self._wrong = [at for at in self._wrong if now - at < TRIES_SECONDS]
        if len(self._wrong) >= TRIES_MAX:
            raise Refused(
                "too many wrong tokens",
                code="too-many-tries",
                retry_after=TRIES_SECONDS - (now - self._wrong[0]),
                hint="wait a minute",
            )
        if not hmac.compare_digest(said.encode(), self._token):
            self._wrong.append(now)
            raise Refused("that is not the token", code="wrong-token", hint="the page says where it is")
