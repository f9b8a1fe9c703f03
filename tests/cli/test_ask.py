"""`cocoon ask`: what it wishes for, and what it keeps of an answer that broke off."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cocoon_p2p.cli.ask import buy
from cocoon_p2p.cli.buying import wishes_given
from cocoon_p2p.client.answer import Answer, Report
from cocoon_p2p.client.reception import Piece
from cocoon_p2p.errors import AnswerBroken
from cocoon_p2p.protocols.exchange.bundle import decode_bundle
from tests.client.test_continuation import TERMS

PAPERS = bytes.fromhex(
    json.loads(
        (Path(__file__).parents[2] / "protocols" / "vectors" / "bundle.json").read_text(encoding="utf-8")
    )["bytes"]
)


class Broken:
    """An answer of which nothing more comes."""

    async def take(self) -> Piece | None:
        raise AnswerBroken("the answer broke off")


async def test_what_an_earlier_part_cost_is_proven_though_the_last_is_not_settled(tmp_path: Path) -> None:
    report = Report()
    for terms in TERMS[:2]:
        report.part(terms.worker, terms)
    report.parts[0].bundle = decode_bundle(PAPERS)

    @asynccontextmanager
    async def chat(*_arguments: Any, **_wishes: Any) -> AsyncIterator[Answer]:
        yield Answer(Broken(), report)

    file, client = tmp_path / "receipt", SimpleNamespace(chat=chat)
    with pytest.raises(AnswerBroken):
        await buy(client, message={}, model="scripted", wishes={}, receipt_file=file, as_json=False)

    assert (tmp_path / "receipt.1").read_bytes() == PAPERS
    assert not file.exists()


def test_what_is_said_on_the_command_line_is_a_wish_and_what_is_not_is_left_to_the_file() -> None:
    assert wishes_given(None, None, None, None, "fast") == {"prefer": "fast"}
    assert wishes_given(10, 5, "sim", None) == {"completion_tokens_max": 10, "max_cost": 5, "trust": "sim"}
