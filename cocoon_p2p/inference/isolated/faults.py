"""An engine's errors, carried from its process with their class, their text and their hint. Pure.

The class decides what the worker answers (and whether before payment), so only those that mean
something to it have a name here; a subclass travels as the nearest of them.
"""

from typing import Final

from cocoon_p2p.errors import CocoonError, ConfigurationError, Unavailable
from cocoon_p2p.inference.engine import (
    EngineError,
    FeatureMissing,
    ModelUnknown,
    PromptTooLong,
    RequestMalformed,
)
from cocoon_p2p.inference.isolated.frames import Fault

TEXT_SIZE_MAX_CHARACTERS: Final = 4096

_CLASSES: Final[dict[str, type[CocoonError]]] = {
    kind.__name__: kind
    for kind in (
        ConfigurationError,
        Unavailable,
        EngineError,
        PromptTooLong,
        ModelUnknown,
        RequestMalformed,
        FeatureMissing,
    )
}


def fault_of(exc: Exception) -> Fault:
    """Write an error down. Of one that nobody foresaw only the class: its text may quote a prompt."""
    for kind in type(exc).__mro__:
        if _CLASSES.get(kind.__name__) is kind:
            assert isinstance(exc, CocoonError)
            return Fault(kind.__name__, _sendable(str(exc)), _sendable(exc.hint))
    return Fault(EngineError.__name__, f"the engine failed (error={type(exc).__name__})", "")


def error_of(fault: Fault) -> CocoonError:
    """Make the error again. A name that is unknown here makes an `EngineError`."""
    kind = _CLASSES.get(fault.name, EngineError)
    return kind(fault.text[:TEXT_SIZE_MAX_CHARACTERS], hint=fault.hint[:TEXT_SIZE_MAX_CHARACTERS])


def engine_error_of(fault: Fault) -> EngineError:
    """Make the error of a call, which is an engine's and nothing else."""
    error = error_of(fault)
    return error if isinstance(error, EngineError) else EngineError(str(error), hint=error.hint)


def _sendable(text: str) -> str:
    return text[:TEXT_SIZE_MAX_CHARACTERS].encode("utf-8", "replace").decode()
