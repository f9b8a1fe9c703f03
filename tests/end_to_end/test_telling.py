"""What real processes tell of an answer at level debug: a trace, metrics, and not a word of it."""

import json
from pathlib import Path

import httpx
import pytest
import trio

from cocoon_p2p.testing.processes import open_local_network
from tests.end_to_end.scene import client_of, seen_in
from tests.spans.collector import attributes, open_collector

pytestmark = pytest.mark.long

MARKER = "zebracadabra"
QUESTION = ({"role": "user", "content": f"Translate to Spanish: the red house {MARKER}"},)


async def test_three_processes_show_one_trace_and_metrics_and_no_word(tmp_path: Path) -> None:
    with open_collector() as collector:
        telling = {"telemetry": {"otlp": collector.url}, "log": {"level": "debug"}}
        more = {
            "client": telling,
            "worker-1": telling,
            "proxy": {**telling, "page": {"listen": "127.0.0.1:0"}},
        }
        async with open_local_network(tmp_path, workers=1, more=more) as network:
            async with (
                client_of(network) as client,
                client.chat("cocoon-demo", QUESTION, trust="open") as answer,
            ):
                text = await answer.read()
            await network.nodes["proxy"].wait_for("page")
            async with httpx.AsyncClient() as http:
                url = network.nodes["proxy"].steps["page"]["url"].rstrip("/")
                metrics = (await http.get(f"{url}/metrics")).text
            with trio.fail_after(60):
                while len({service for service, _ in collector.exported()}) < 3:  # noqa: ASYNC110
                    await trio.sleep(0.2)

        spans = dict(collector.exported())
        assert {span.trace_id for span in spans.values()} == {answer.parts[0].exchange}
        spent = attributes(spans["cocoon-client"])["cocoon.expense_nanoton"]
        assert spent == answer.cost == attributes(spans["cocoon-proxy"])["cocoon.income_nanoton"]
        assert 'cocoon_exchanges_total{model="cocoon-demo",outcome="finished"} 1.0' in metrics
        lines = (tmp_path / "proxy.log").read_text().splitlines()
        assert answer.parts[0].exchange.hex()[:8] in {json.loads(line).get("exchange") for line in lines}
        for told in (MARKER, text):
            assert seen_in(tmp_path, told.encode()) == []
            assert not any(told.encode() in body for body in collector.bodies)
            assert told not in metrics
