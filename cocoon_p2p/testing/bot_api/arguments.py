"""What a bot sent with a call: forms, JSON and query strings read alike.

A form carries everything as text, objects as JSON within it; a JSON body carries the values themselves.
Libraries use either, and the real server takes both.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from cocoon_p2p.testing.bot_api.answers import bad_request


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with the call."""

    name: str
    content: bytes


def entries(value: object) -> list[object]:
    """Give the entries of a JSON array; none where it is no array."""
    return cast("list[object]", value) if isinstance(value, list) else []


def fields(value: object) -> dict[str, object]:
    """Give the fields of a JSON object; none where it is no object."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


class Arguments(Mapping[str, object]):
    """The values of one call, by name, and the files that came with it.

    Args:
        values: As they came.
        uploads: By the name of their part of the form.
    """

    def __init__(
        self, values: Mapping[str, object] | None = None, uploads: Mapping[str, Upload] | None = None
    ) -> None:
        self._values = dict(values or {})
        self._uploads = dict(uploads or {})

    def __getitem__(self, name: str) -> object:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def text(self, name: str) -> str:
        """Give a text; an empty one where there is none."""
        value = self._values.get(name, "")
        if isinstance(value, bool):
            return "true" if value else "false"
        return value if isinstance(value, str) else json.dumps(value) if value is not None else ""

    def integer(self, name: str, default: int = 0) -> int:
        """Give a number; the default where there is none or it is none, as the server does."""
        try:
            return int(self.text(name))
        except ValueError:
            return default

    def flag(self, name: str) -> bool:
        """Tell whether something was asked for (`to_bool`: true, yes or 1)."""
        return self.text(name).strip().lower() in ("true", "yes", "1")

    def value(self, name: str, otherwise: str) -> object:
        """Give a value that JSON describes; None where there is none.

        Raises:
            Rejected: It is not JSON; with the words of `otherwise`.
        """
        value = self._values.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value.strip() else None
        except ValueError:
            raise bad_request(otherwise) from None

    def fields(self, name: str, otherwise: str) -> dict[str, object]:
        """Give a JSON object; an empty one where there is none.

        Raises:
            Rejected: It is no object; with the words of `otherwise`.
        """
        value = self.value(name, otherwise)
        if value is not None and not isinstance(value, dict):
            raise bad_request(otherwise)
        return fields(cast("object", value))

    def file(self, name: str) -> Upload | str:
        """Give what was sent as a file: the file itself, or the id or address that stands for one."""
        value = self.text(name)
        if value.startswith("attach://"):
            return self._uploads.get(value.removeprefix("attach://"), "")
        return self._uploads.get(name, value)
