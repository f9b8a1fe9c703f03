"""Say what is out of its range in the words of whoever wrote it."""

from cocoon_p2p.errors import ConfigurationError


def check_range(name: str, value: float | None, least: float, most: float) -> None:
    """Refuse what is no number, or out of its range; None is in any."""
    if value is None:
        return
    try:
        # A comparison with NaN is false too.
        is_inside = least <= value <= most
    except TypeError:
        raise ConfigurationError(f"{name} is not a number") from None
    if not is_inside:
        raise ConfigurationError(f"{name} is out of range (got={value} from={least} to={most})")


def check_text(name: str, text: str, size_max_bytes: int) -> None:
    """Refuse what is no text, or too long."""
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        raise ConfigurationError(f"{name} is not Unicode text (it has half a surrogate pair)") from None
    except AttributeError:
        raise ConfigurationError(f"{name} is not text") from None
    if size_bytes > size_max_bytes:
        raise ConfigurationError(f"{name} is too long (size={size_bytes} max={size_max_bytes} bytes)")
