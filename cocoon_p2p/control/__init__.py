"""The socket by which other commands speak to a process that owns something alone: a ledger, a chain.

What can be asked is a `Verb`, typed at both ends. The process that owns says what carries each out:

    await serve_control(path, [CHANNELS.by(list_channels), ...])

and a command asks for it:

    channels = ask(path, CHANNELS, ListChannels())

Serving is imported when it is first used: who only asks needs no event loop.
"""

from typing import TYPE_CHECKING

from cocoon_p2p.control.asking import ask as ask
from cocoon_p2p.control.asking import follow as follow
from cocoon_p2p.control.verbs import Answer as Answer
from cocoon_p2p.control.verbs import Feed as Feed
from cocoon_p2p.control.verbs import Request as Request
from cocoon_p2p.control.verbs import Verb as Verb

if TYPE_CHECKING:
    from cocoon_p2p.control.serving import serve_control as serve_control


def __getattr__(name: str) -> object:
    if name != "serve_control":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cocoon_p2p.control.serving import serve_control

    globals()[name] = serve_control
    return serve_control
