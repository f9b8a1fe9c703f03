"""What was made of a prompt when it was counted, kept until it is generated from: each is split once."""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from cocoon_p2p.inference.engine import GenerateRequest, PromptKey

KEPT: Final = 64
"Prompts between their count and their generation; who asks for more at once has some split again."

Made = TypeVar("Made")


class Counted(Generic[Made]):
    """Prompts that were counted, the oldest forgotten first."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._made = OrderedDict[PromptKey, Made]()

    def keep(self, request: GenerateRequest, made: Made) -> Made:
        """Keep what was made of a request's prompt, and give it back."""
        self._made[request.prompt_key] = made
        if len(self._made) > self._most:
            self._made.popitem(last=False)
        return made

    def find(self, request: GenerateRequest) -> Made | None:
        """What was made of such a prompt before, if it is still kept."""
        return self._made.get(request.prompt_key)

    def drop(self, request: GenerateRequest) -> None:
        """Keep it no longer: it is generated from now."""
        self._made.pop(request.prompt_key, None)
