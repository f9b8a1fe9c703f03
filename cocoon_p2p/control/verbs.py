"""What can be asked through a control socket: a closed set of verbs, typed at both ends.

A verb is a request's type and its reply's. The request's tag is the verb's name on the wire:

    class Look(Request, tag="look", frozen=True):
        address: str

    LOOK = Verb(Look, Balance)

`by` ties it to what carries it out. A `Feed` is a verb with many replies.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

ANSWER_SECONDS = 30.0
"How long a verb may take, unless it says otherwise."


class Request(msgspec.Struct, frozen=True, tag_field="do", forbid_unknown_fields=True):
    """What is asked. Each kind has a `tag` of its own: the verb's name."""


Q = TypeVar("Q", bound=Request)
R = TypeVar("R")

Say = Callable[[R], Awaitable[None]]
"Sends one reply; whoever hung up meanwhile is noticed by a cancel."


@dataclass(frozen=True, slots=True)
class Answer:
    """A verb and what carries it out, as the socket is served with."""

    request: type[Request]
    carry_out: Callable[[Any, Say[Any]], Awaitable[None]]
    "Called with a request of the type above; the verb's `by` has looked after the types."

    limit_seconds: float
    is_feed: bool = False


@dataclass(frozen=True, slots=True)
class Verb(Generic[Q, R]):
    """One reply to one request."""

    request: type[Q]
    reply: type[R]
    limit_seconds: float = ANSWER_SECONDS
    "After this long the verb is cancelled, and the one who asked is told."

    def by(self, do: Callable[[Q], Awaitable[R]]) -> Answer:
        """Say what carries it out.

        Args:
            do: Gives the reply. Any `CocoonError` that it raises reaches the one who asked. It goes on
                when that one has hung up, until `limit_seconds`; so what it does must bear a cancel.
        """

        async def carry_out(request: Q, say: Say[R]) -> None:
            await say(await do(request))

        return Answer(self.request, carry_out, self.limit_seconds)


@dataclass(frozen=True, slots=True)
class Feed(Generic[Q, R]):
    """Reply after reply to one request, for as long as there is something to tell and somebody to hear it."""

    request: type[Q]
    reply: type[R]
    silent_seconds: float | None = None
    "The longest that the one who asks waits for the next reply; None: for ever."

    def by(self, do: Callable[[Q, Say[R]], Awaitable[None]]) -> Answer:
        """Say what carries it out.

        Args:
            do: Gives each reply to its second argument, and returns after the last. It is cancelled when
                the one who asked hangs up or does not read.
        """
        return Answer(self.request, do, float("inf"), is_feed=True)
