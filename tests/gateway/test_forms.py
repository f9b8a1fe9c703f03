"""Forms, as clients send recordings in them."""

from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cocoon_p2p.gateway.form import read_form
from cocoon_p2p.gateway.refusals import RequestRefused
from cocoon_p2p.gateway.transcription import read_transcription, transcription_wishes

SOUND = bytes(range(256)) * 40
FILE = {"file": ("speech.wav", SOUND, "audio/wav")}


def _sent(data: dict[str, Any], files: Any = FILE) -> tuple[bytes, str]:
    """Give the body and type of what a real client sends."""
    request = httpx.Request("POST", "http://here", data=data, files=files)
    return request.read(), request.headers["content-type"]


def test_a_form_is_read_as_it_was_sent() -> None:
    asked, recording = read_transcription(
        *_sent(
            {"model": "whisper", "language": "en", "prompt": "Æon", "temperature": "0.5", "max_price": "7"}
        )
    )

    assert recording == SOUND
    assert (asked.model, asked.language, asked.prompt, asked.max_price) == ("whisper", "en", "Æon", 7)
    assert transcription_wishes(asked) == {"temperature": 0.5}


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"timestamp_granularities[]": ["word", "segment"]}, "timestamp_granularities"),
        ({"include[]": "logprobs"}, "include"),
        ({"stream": "true"}, "stream"),
        ({"response_format": "srt"}, "response_format"),
        ({"temperature": "warm"}, "temperature"),
        ({"max_price": "1.5"}, "max_price"),
        ({"chunking_strategy": "auto"}, "chunking_strategy"),
        ({"unheard_of": "1"}, "unheard_of"),
        ({"trust": "much"}, "trust"),
    ],
)
def test_a_field_that_cannot_be_honoured_is_refused_by_its_name(data: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        asked, _ = read_transcription(*_sent({"model": "whisper", **data}))
        transcription_wishes(asked)

    assert caught.value.refusal.param == param
    assert caught.value.refusal.status == 400


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{}", "application/json"),
        (b"", "multipart/form-data"),
        (b"", "multipart/form-data; boundary="),
        (b"no bounds", "multipart/form-data; boundary=x"),
        (b"--x\r\nno header\r\n\r\n--x--", "multipart/form-data; boundary=x"),
        _sent({"model": "whisper"}, {"other": ("speech.wav", SOUND)}),
        _sent({"model": "whisper"}, {"file": ("speech.wav", b"")}),
        _sent({f"field{number}": "1" for number in range(64)}),
    ],
    # Those that a client spells have another boundary each time.
    ids=["json", "no-boundary", "empty-boundary", "no-parts", "no-header", "no-file", "no-sound", "crowd"],
)
def test_what_is_no_such_form_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(RequestRefused):
        read_transcription(body, content_type)


PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"A machine that does something else meanwhile is no fault of what is tried."


@PATIENT
@given(st.binary(max_size=300), st.text(alphabet=st.characters(max_codepoint=255), max_size=80))
def test_whatever_comes_is_read_or_refused(body: bytes, boundary: str) -> None:
    with suppress(RequestRefused):
        read_form(body, f"multipart/form-data; boundary={boundary}")


@given(
    st.lists(st.tuples(st.sampled_from(["model", "prompt", "file", "x"]), st.binary(max_size=40)), max_size=6)
)
def test_whatever_a_client_puts_into_a_form_comes_out_of_it(fields: list[tuple[str, bytes]]) -> None:
    files = [(name, ("a name", data)) for name, data in fields] or FILE

    parts = read_form(*_sent({}, files))

    if isinstance(files, list):
        assert [(part.name, part.data, part.is_file) for part in parts] == [
            (*field, True) for field in fields
        ]
