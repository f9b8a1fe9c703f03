"""Intel's lists from a caching mirror (PCCS) over HTTP, in four bounded questions.

A mirror is not trusted, so plain HTTP does as well as HTTPS, but for who can see which kind of
platform we met. dcap-qvl can fetch too, through asyncio and without any bound on the answers.

Spec: Intel PCS and PCCS API v4.
"""

import json
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import trio

from cocoon_p2p.attestation.collateral import Platform
from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.protocols.ids import COLLATERAL_SIZE_MAX_BYTES

QUESTION_SECONDS = 5.0
"How long the mirror may be silent within one question."


class PccsMirror:
    """One mirror. `url` is what stands before `/sgx/certification/v4/...`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigurationError(f"not the address of a mirror: {url!r}", hint="write https://HOST")
        self._is_secure = parts.scheme == "https"
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")

    async def fetch(self, platform: Platform, quote: bytes) -> bytes:
        """As `CollateralSource.fetch`. The thread of a cancelled fetch ends by its own timeouts."""
        try:
            return await trio.to_thread.run_sync(self._fetch, platform, abandon_on_cancel=True)
        # A mirror that answers nonsense is as good as one that does not answer.
        except (OSError, HTTPException, ValueError, TypeError, KeyError, RecursionError) as exc:
            raise Unavailable(f"the mirror {self._host} has no lists: {exc!s:.160}") from exc

    def _fetch(self, platform: Platform) -> bytes:
        kind = HTTPSConnection if self._is_secure else HTTPConnection
        connection = kind(self._host, self._port, timeout=QUESTION_SECONDS)
        try:
            return json.dumps(self._lists(connection, platform)).encode()
        finally:
            connection.close()

    def _lists(self, connection: HTTPConnection, platform: Platform) -> dict[str, str]:
        pck, pck_chain = self._ask(
            connection,
            f"sgx/certification/v4/pckcrl?ca={platform.authority}&encoding=der",
            "SGX-PCK-CRL-Issuer-Chain",
        )
        tcb, tcb_chain = self._ask(
            connection,
            f"tdx/certification/v4/tcb?fmspc={platform.fmspc.upper()}",
            "TCB-Info-Issuer-Chain",
        )
        identity, identity_chain = self._ask(
            connection, "tdx/certification/v4/qe/identity", "SGX-Enclave-Identity-Issuer-Chain"
        )
        root, _ = self._ask(connection, "sgx/certification/v4/rootcacrl", None)
        tcb_info, tcb_signature = _take_apart(tcb, "tcbInfo")
        qe_identity, qe_signature = _take_apart(identity, "enclaveIdentity")
        return {
            "pck_crl_issuer_chain": pck_chain,
            "root_ca_crl": root.decode("ascii").strip(),
            "pck_crl": pck.hex(),
            "tcb_info_issuer_chain": tcb_chain,
            "tcb_info": tcb_info,
            "tcb_info_signature": tcb_signature,
            "qe_identity_issuer_chain": identity_chain,
            "qe_identity": qe_identity,
            "qe_identity_signature": qe_signature,
        }

    def _ask(self, connection: HTTPConnection, question: str, chain: str | None) -> tuple[bytes, str]:
        """Ask one question; give the answer, and the certificates that came in a header."""
        connection.request("GET", f"{self._path}/{question}", headers={"Accept": "*/*"})
        response: HTTPResponse = connection.getresponse()
        answer = response.read(COLLATERAL_SIZE_MAX_BYTES + 1)
        if response.status != 200:
            raise HTTPException(f"status {response.status} for {question}")
        if len(answer) > COLLATERAL_SIZE_MAX_BYTES:
            raise HTTPException(f"more than {COLLATERAL_SIZE_MAX_BYTES} bytes for {question}")
        return answer, "" if chain is None else unquote(response.headers[chain])


def _take_apart(answer: bytes, name: str) -> tuple[str, str]:
    """Take a signed object and its signature out of an answer.

    Intel signs the object in its shortest spelling with the keys in the order of the answer.
    """
    fields = cast("dict[str, Any]", json.loads(answer))
    return json.dumps(fields[name], separators=(",", ":"), ensure_ascii=False), str(fields["signature"])
