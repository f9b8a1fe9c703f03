from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.protocols.ids import TEXT_MAX_BYTES, Reason
from cocoon_p2p.protocols.messages import Drain, SessionRefused, shorten
from cocoon_p2p.protocols.schema import decode_message, encode_message


@given(words=st.text(st.characters(), max_size=20).map(lambda text: text * 40))
def test_any_explanation_can_be_sent_once_it_is_shortened(words: str) -> None:
    refused = SessionRefused(Reason.MALFORMED, shorten(words))

    assert decode_message(encode_message(refused)) == refused


def test_an_explanation_is_cut_at_a_whole_character_and_only_if_it_must_be() -> None:
    assert shorten("the image is new") == "the image is new"
    assert shorten("é" * TEXT_MAX_BYTES) == "é" * (TEXT_MAX_BYTES // 2)
    assert shorten("a" + "é" * TEXT_MAX_BYTES) == "a" + "é" * (TEXT_MAX_BYTES // 2 - 1)
    encode_message(Drain(shorten("\ud800" * 1000)))
