"""The mends of py-libp2p 0.8.1 that have no public extension point: one module a fault.

Each module's docstring says what upstream does, what that costs a node, and what stands there
instead; its `PATCHES` say which names are replaced by what. Each is bound by a test that fails
without it (`tests/network/libp2p/test_patches.py`), has its paragraph in
`docs/decisions/0004-own-yamux.md`, and is written up for upstream in `docs/upstream/`.

Rule 1: a mend of more than a few lines lives in its own room; here it is only put in place.
Rule 2: only `install` touches upstream, so that `uninstall` can give all of it back.
"""

from importlib.metadata import version

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.network.libp2p.patches import (
    bounded_messages,
    first_extension,
    one_round_trip,
    own_logger,
    registered_muxer,
    unlocked_streams,
)

LIBP2P_VERSION = "0.8.1"
"The release whose private parts these mends know. Another one is a decision, not an upgrade."

_PATCHES: tuple[tuple[object, str, object], ...] = (
    *registered_muxer.PATCHES,
    *first_extension.PATCHES,
    *one_round_trip.PATCHES,
    *bounded_messages.PATCHES,
    *unlocked_streams.PATCHES,
    *own_logger.PATCHES,
)
"Whose attribute is replaced, which, and by what."

# What stood upstream, in the order in which it was replaced.
_upstream: list[tuple[object, str, object]] = []


def install() -> None:
    """Put every mend in place, for the whole process; a second call changes nothing.

    Raises:
        ConfigurationError: The libp2p that is installed is not the one that was mended.
    """
    if _upstream:
        return
    if (found := version("libp2p")) != LIBP2P_VERSION:
        raise ConfigurationError(
            f"the installed libp2p was never mended (found={found} mended={LIBP2P_VERSION})",
            hint=f"install libp2p=={LIBP2P_VERSION}",
        )
    for owner, name, mended in _PATCHES:
        # vars, not getattr: a name that moved to a base class must fail here and not go unmended.
        _upstream.append((owner, name, vars(owner)[name]))
        setattr(owner, name, mended)


def uninstall() -> None:
    """Give upstream back what was replaced: for tests that show a fault."""
    while _upstream:
        owner, name, original = _upstream.pop()
        setattr(owner, name, original)
