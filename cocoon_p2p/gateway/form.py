"""A form as browsers and SDKs send files in: `multipart/form-data` (RFC 7578), read in memory.

The body is bounded before it comes here, and nothing of it goes to the disk.
"""

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from cocoon_p2p.gateway.refusals import invalid

PARTS_MAX = 64
"Fields of one form; a transcription has some ten."


@dataclass(slots=True)
class Part:
    """One field of a form."""

    name: str = ""
    is_file: bool = False
    data: bytes = b""


@dataclass(slots=True)
class _Reading:
    """What the parser tells of, piece by piece."""

    body: bytes
    parts: list[Part] = field(default_factory=list[Part])
    pieces: list[bytes] = field(default_factory=list[bytes])
    header: bytes = b""
    value: bytes = b""

    def begin(self) -> None:
        if len(self.parts) == PARTS_MAX:
            raise invalid(f"the form has too many fields (max={PARTS_MAX})")
        self.parts.append(Part())
        self.pieces.clear()

    def add_header(self, data: bytes, start: int, end: int) -> None:
        self.header += data[start:end]

    def add_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def end_header(self) -> None:
        if self.header.lower() == b"content-disposition":
            _, options = parse_options_header(self.value)
            part = self.parts[-1]
            part.name = options.get(b"name", b"").decode(errors="replace")
            part.is_file = b"filename" in options
        self.header = self.value = b""

    def add_data(self, data: bytes, start: int, end: int) -> None:
        self.pieces.append(data[start:end])

    def end(self) -> None:
        self.parts[-1].data = b"".join(self.pieces)


def read_form(body: bytes, content_type: str) -> list[Part]:
    """Read a form's fields, in their order.

    Raises:
        RequestRefused: It is no form, or has too many fields.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise invalid("the body is to be a form: `multipart/form-data`, with a boundary")
    reading = _Reading(body)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reading.begin,
                "on_header_field": reading.add_header,
                "on_header_value": reading.add_value,
                "on_header_end": reading.end_header,
                "on_part_data": reading.add_data,
                "on_part_end": reading.end,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError:
        # Its text may quote the form.
        raise invalid("the form is malformed") from None
    return reading.parts
