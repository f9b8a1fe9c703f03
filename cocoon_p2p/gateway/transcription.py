"""`POST /v1/audio/transcriptions`: a recording in a form, and what is said in it."""

from typing import Any, Literal

import msgspec

from cocoon_p2p.client import Answer, Wishes
from cocoon_p2p.gateway.fields import Fields, common_wishes, convert, refuse_given
from cocoon_p2p.gateway.form import read_form
from cocoon_p2p.gateway.refusals import JSON, invalid
from cocoon_p2p.gateway.sampling import ATemperature
from cocoon_p2p.gateway.spelling import answer_facts

TOKENS_PER_SECOND = 50
"By which speech is counted, whole seconds of it (protocols/exchange.md)."

_NUMBERS = ("temperature", "max_price")


class TranscriptionRequest(Fields, kw_only=True):
    """OpenAI's fields as of its Python SDK 3, but for the file."""

    # What comes in a form is text, and no larger than that.
    user: Any = None
    safety_identifier: Any = None

    language: str | None = None
    prompt: str | None = None
    response_format: Literal["json", "text", "verbose_json"] = "json"
    temperature: ATemperature | None = None

    chunking_strategy: Any = None
    include: Any = None
    keywords: Any = None
    known_speaker_names: Any = None
    known_speaker_references: Any = None
    languages: Any = None
    stream: Any = None
    timestamp_granularities: Any = None


_CANNOT = {
    "chunking_strategy": "the worker's engine cuts a recording as its model wants it",
    "include": "how likely words were is not told",
    "keywords": "use `prompt`",
    "known_speaker_names": "speakers are not told apart",
    "known_speaker_references": "speakers are not told apart",
    "languages": "use `language`",
    "timestamp_granularities": "when words were said is not told",
}


def read_transcription(body: bytes, content_type: str) -> tuple[TranscriptionRequest, bytes]:
    """Read a form: what is wanted, and the recording.

    Raises:
        RequestRefused: It is no such form, or a field cannot be honoured.
    """
    fields: dict[str, Any] = {}
    recording = b""
    for part in read_form(body, content_type):
        # A list is sent as several fields, some clients put brackets behind their name.
        name = part.name.removesuffix("[]")
        if part.is_file and name == "file":
            recording = part.data
            continue
        text = _text(name, part.data)
        fields[name] = _number(name, text) if name in _NUMBERS else _several(fields.get(name), text)
    if not recording:
        raise invalid("`file` is missing, or empty", param="file")
    asked = convert(TranscriptionRequest, fields)
    refuse_given(asked, _CANNOT)
    if asked.stream not in (None, "false", "False"):
        raise invalid("`stream` is not supported: a recording is written down in one piece", param="stream")
    return asked, recording


def transcription_wishes(asked: TranscriptionRequest) -> Wishes:
    """Read how the answer is wanted, but for its price.

    Raises:
        RequestRefused: A field cannot be honoured.
    """
    wishes = common_wishes(asked)
    if asked.temperature is not None:
        wishes["temperature"] = asked.temperature
    return wishes


def spell_transcription(answer: Answer, asked: TranscriptionRequest) -> tuple[tuple[bytes, bytes], bytes]:
    """Spell what was said, read to its end; give its type of content too."""
    if asked.response_format == "text":
        return (b"content-type", b"text/plain; charset=utf-8"), answer.text.encode() + b"\n"
    counted, written = answer.usage.prompt + answer.usage.cached, answer.usage.completion
    said: dict[str, Any] = {"text": answer.text, "cocoon": answer_facts(answer)}
    if asked.response_format == "verbose_json":
        # What is spoken the network does not tell, and when; how long it is only in counted tokens.
        said |= {"task": "transcribe", "language": asked.language or "unknown"}
        said |= {"duration": counted / TOKENS_PER_SECOND, "segments": None, "words": None}
        said["usage"] = {"type": "duration", "seconds": counted / TOKENS_PER_SECOND}
    else:
        said["usage"] = {
            "type": "tokens",
            "input_tokens": counted,
            "output_tokens": written,
            "total_tokens": counted + written,
        }
    return JSON, msgspec.json.encode(said)


def _several(before: Any, text: str) -> Any:
    if before is None:
        return text
    return [*before, text] if isinstance(before, list) else [before, text]


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise invalid(f"`{name}` is not UTF-8", param=name) from None


def _number(name: str, text: str) -> float:
    try:
        return float(text) if name == "temperature" else int(text)
    except ValueError:
        raise invalid(f"`{name}` is not a number", param=name) from None
