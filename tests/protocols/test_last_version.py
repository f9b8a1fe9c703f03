"""This version and the last one understand each other, by what the last one wrote and would read.

`last_version/` has the last version's own words: its CDDL, and bytes of each of its messages, papers and
contents. It changes when a version is left behind, and only then: docs/running.md (Versions).
"""

import json
import re
from pathlib import Path
from typing import Any, cast

import cbor2
import pytest
from pycddl import Schema, ValidationError

from cocoon_p2p.protocols.schema import (
    KEY_IGNORED_FROM,
    decode_message,
    decode_paper,
    encode_message,
    encode_paper,
)
from tests.protocols.shapes import MESSAGES, PAPERS, SHAPES, rule_name
from tests.protocols.test_vectors import CONTENT_VECTORS, MESSAGE_VECTORS, PAPER_VECTORS

LAST = Path(__file__).parent / "last_version"
SAID = json.loads((LAST / "said.json").read_text())
CDDL = (LAST / "cocoon.cddl").read_text()
BY_RULE = {rule_name(cls): cls for cls in SHAPES}

ASKED_FOR = {"ask": {15}}
"""Keys below 64 that came later, and so are malformed to the last version: each is there only where whoever
asks has wished for it."""


def by_rule(said: dict[str, str]) -> str:
    return said["rule"]


def last_rule(name: str) -> Schema:
    """Give one rule of the last version's CDDL, as a schema: the first rule of a text is its root."""
    return Schema(f"root = {name}\n{CDDL}")


def without_later(value: Any, also: frozenset[int] = frozenset()) -> Any:
    """Leave out keys from 64 on, which the last version reads past, and of the outermost map `also`."""
    if isinstance(value, list):
        return [without_later(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    items = cast("dict[int, Any]", value).items()
    return {key: without_later(item) for key, item in items if key < KEY_IGNORED_FROM and key not in also}


@pytest.mark.parametrize("said", [*SAID["messages"], *SAID["papers"], *SAID["contents"]], ids=by_rule)
def test_what_the_last_version_writes_is_read_and_written_the_same(said: dict[str, str]) -> None:
    cls, data = BY_RULE[said["rule"]], bytes.fromhex(said["bytes"])

    if cls in MESSAGES:
        message = decode_message(data)
        assert type(message) is cls
        assert encode_message(message) == data
    else:
        assert encode_paper(decode_paper(cls, data)) == data


def test_every_message_and_paper_of_the_last_version_is_still_there() -> None:
    spoken = {said["rule"] for said in SAID["messages"]} | {said["rule"] for said in SAID["papers"]}

    assert spoken <= {rule_name(cls) for cls in (*MESSAGES, *PAPERS)}


@pytest.mark.parametrize("vector", [*MESSAGE_VECTORS, *PAPER_VECTORS, *CONTENT_VECTORS], ids=by_rule)
def test_what_this_version_writes_the_last_one_reads(vector: dict[str, Any]) -> None:
    name, value = vector["rule"], cbor2.loads(bytes.fromhex(vector["bytes"]))
    later = frozenset(ASKED_FOR.get(name, set()))
    if not re.search(rf"^{name} =", CDDL, re.MULTILINE):
        pytest.fail(f"the last version has no {name}: who may be sent one?")

    last_rule(name).validate_cbor(cbor2.dumps(without_later(value, later), canonical=True))

    if later & set(value):
        with pytest.raises(ValidationError):
            last_rule(name).validate_cbor(cbor2.dumps(without_later(value), canonical=True))
