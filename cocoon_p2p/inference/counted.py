"""What was made of a prompt when it was counted, kept until it is generated from: each is split once.

Counting is free, so what is kept is bounded by its size too: whoever asks what a request costs, and never
orders it, fills no memory.
"""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from cocoon_p2p.inference.engine import ChatMessage, GenerateRequest, PromptKey

KEPT: Final = 64
"Prompts between their count and their generation; who asks for more at once has some split again."

SIZE_KEPT_MAX: Final = 8 << 20
"Characters and bytes of all that is kept: each may be a token, which takes some forty bytes of memory."

Made = TypeVar("Made")


class Counted(Generic[Made]):
    """Prompts that were counted, the oldest forgotten first. The newest is kept, whatever its size."""

    def __init__(self, most: int = KEPT, *, size_max: int = SIZE_KEPT_MAX) -> None:
        self._most = most
        self._size_max = size_max
        self._size = 0
        self._made = OrderedDict[PromptKey, tuple[Made, int]]()

    def keep(self, request: GenerateRequest, made: Made) -> Made:
        """Keep what was made of a request's prompt, and give it back."""
        self.drop(request)
        size = _size(request)
        self._made[request.prompt_key] = made, size
        self._size += size
        while len(self._made) > 1 and (len(self._made) > self._most or self._size > self._size_max):
            _, (_, freed) = self._made.popitem(last=False)
            self._size -= freed
        return made

    def find(self, request: GenerateRequest) -> Made | None:
        """What was made of such a prompt before, if it is still kept."""
        made, _ = self._made.get(request.prompt_key, (None, 0))
        return made

    def drop(self, request: GenerateRequest) -> None:
        """Keep it no longer: it is generated from now."""
        _, freed = self._made.pop(request.prompt_key, (None, 0))
        self._size -= freed


def _size(request: GenerateRequest) -> int:
    """Of what decides a prompt, about."""
    texts = [request.prompt or "", request.answer_prefix, *request.inputs]
    size = sum(map(len, texts)) + sum(map(_message_size, request.messages))
    size += sum(len(tool.description) + len(tool.parameters) for tool in request.tools)
    return size + (0 if request.audio is None else len(request.audio.data))


def _message_size(message: ChatMessage) -> int:
    size = len(message.content) + sum(map(len, message.images))
    return size + sum(len(call.arguments) for call in message.calls)
