"""Trust among real processes: a demo's simulated evidence is shown as what it is, and passes nowhere else."""

from pathlib import Path

import pytest

from cocoon_p2p.cli.spell import footer
from cocoon_p2p.client import Client
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.errors import AttestationFailed
from cocoon_p2p.node import open_client
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.testing.processes import open_local_network

HELLO = [{"role": "user", "content": "Hello"}]


async def test_simulated_evidence_is_called_insecure_and_refused_by_whoever_asks_for_more(
    tmp_path: Path,
) -> None:
    async with open_local_network(tmp_path, workers=1) as network:
        async with open_client(load(ClientFile, network.client_file, {})) as client:
            await _is_shown_as_insecure(client)
            with pytest.raises(
                AttestationFailed, match=r"proxy of 12D3\w+ at gate type: .*proven=sim asked=tdx"
            ):
                async with client.chat("cocoon-demo", HELLO, trust="tdx"):
                    pytest.fail("nothing here proves that")
        # What a client's file says that has no [trust] of its own, and asks for nothing.
        careful = {"COCOON_TRUST__DEMO": "false", "COCOON_CLIENT__TRUST": "tdx"}
        async with open_client(load(ClientFile, network.client_file, careful)) as client:
            with pytest.raises(AttestationFailed, match="type-not-accepted"):
                async with client.chat("cocoon-demo", HELLO):
                    pytest.fail("nothing here proves anything")


async def _is_shown_as_insecure(client: Client) -> None:
    async with client.chat("cocoon-demo", HELLO) as answer:
        await answer.read()
    assert answer.trust is Trust.SIM
    assert "trust sim INSECURE" in footer(answer)
    assert "hardware unknown" in footer(answer)
    assert "warning: NOT A TEE" in footer(answer)
