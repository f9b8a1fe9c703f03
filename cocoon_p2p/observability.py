"""How a node's log looks: a line a person can read, or a JSON object for machines.

The library logs through the standard `logging`, fixed short phrases with facts as fields;
only a command configures where they go. Prompts, answers and keys are never logged.
"""

import json
import logging
from typing import TextIO

# What every record has; the rest was given as `extra` and is a fact to show.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_QUIETED = {
    # They write down each question's address and what the server calls its answer, which may quote either.
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "urllib3": logging.WARNING,
    # A line and a trace for each batch that a collector does not take: `spans` says it once.
    "opentelemetry": logging.CRITICAL,
}


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (seconds since the Unix epoch), level, logger, event, facts."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class TextFormatter(logging.Formatter):
    """`12:00:00 warning worker lost  peer=12D3...`."""

    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{name}={value}" for name, value in _facts(record).items())
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname.lower()} {record.getMessage()}"
        line = escaped(f"{line}  {facts}" if facts else line)
        if not record.exc_info:
            return line
        trace = self.formatException(record.exc_info).split("\n")
        return "\n".join((line, *map(escaped, trace)))


def short(exchange: bytes) -> str:
    """Name an exchange as every role's log does: the beginning of the id that receipts and traces have."""
    return exchange[:4].hex()


def escaped(text: str) -> str:
    """Spell out what could steer a terminal or pass for another line: many facts are a peer's words."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def configure_logging(stream: TextIO, *, level: str, as_json: bool) -> None:
    """Send the whole process's log to one stream. Called by commands, never by the library."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for library, least in _QUIETED.items():
        logging.getLogger(library).setLevel(least)
