"""Stand-ins: the kernel's folder of reports and its register, dstack's agent, and mirrors of lists.

The kernel's is on real files: what the machine under test reads and writes are files in a folder, and
the stand-in does what the kernel would do at each step. What it is asked to sign, a paper machine signs.
"""

import errno
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha384
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any
from urllib.parse import quote

from cocoon_p2p.attestation.collateral import Platform
from cocoon_p2p.attestation.events import event_digest
from cocoon_p2p.attestation.evidence import RuntimeEvent
from cocoon_p2p.attestation.makers.configfs import Register, ReportFolder
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.testing.machines import PaperMachine


class KernelRegister(Register):
    """RTMR3: a write extends it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.file = folder / "rtmr3:sha384"
        self.file.write_bytes(bytes(48))
        self.crashes_before_extending = False
        super().__init__(self.file)

    def extend(self, digest: bytes) -> None:
        if self.crashes_before_extending:
            raise KeyboardInterrupt
        before = self.file.read_bytes()
        super().extend(digest)
        assert self.file.read_bytes() == digest
        self.file.write_bytes(sha384(before + digest).digest())


class KernelFolder(ReportFolder):
    """configfs-tsm: making a folder fills it, writing `inblob` raises the generation and signs."""

    def __init__(self, folder: Path, machine: PaperMachine, register: KernelRegister) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        self.folder, self.machine, self.register = folder, machine, register
        self.provider = b"tdx_guest\n"
        self.is_busy = False
        self.is_disturbed = False
        self.padding = b""

    def make(self, name: str) -> None:
        super().make(name)
        (self.folder / name / "provider").write_bytes(self.provider)
        (self.folder / name / "generation").write_bytes(b"0\n")
        (self.folder / name / "inblob").write_bytes(b"")

    def write(self, name: str, attribute: str, data: bytes) -> None:
        super().write(name, attribute, data)
        assert (attribute, len(data)) == ("inblob", 64)
        body = self.machine.body
        rtmrs = (*body.rtmrs[:3], self.register.read())
        quote = self.machine.quote(data, rtmrs=rtmrs) + self.padding
        (self.folder / name / "outblob").write_bytes(quote)
        (self.folder / name / "generation").write_bytes(b"2\n" if self.is_disturbed else b"1\n")

    def read(self, name: str, attribute: str) -> bytes:
        if attribute == "outblob" and self.is_busy:
            raise OSError(errno.EBUSY, "Device or resource busy")
        return super().read(name, attribute)

    def remove(self, name: str) -> None:
        for file in (self.folder / name).iterdir():
            file.unlink()
        super().remove(name)


@dataclass
class Agent:
    """dstack's agent: what it has logged, and how it misbehaves."""

    machine: PaperMachine
    events: list[RuntimeEvent]
    status: int = 200
    answer: bytes | None = None
    hidden: list[dict[str, Any]] = field(default_factory=list)
    "Entries of other registers in its log."

    def quote(self, data: bytes) -> dict[str, Any]:
        register = bytes(48)
        for event in self.events:
            register = sha384(register + event_digest(event)).digest()
        machine = replace(self.machine.body, rtmrs=(*self.machine.body.rtmrs[:3], register))
        log = [
            # The digest is one that nobody may believe.
            {
                "imr": 3,
                "event_type": 0x08000001,
                "digest": "",
                "event": event.name,
                "event_payload": event.payload.hex(),
            }
            for event in self.events
        ]
        return {
            "quote": self.machine.quote(data, rtmrs=machine.rtmrs).hex(),
            "event_log": json.dumps(self.hidden + log),
            "report_data": data.hex(),
        }

    def answer_to(self, path: str, body: dict[str, Any]) -> bytes:
        if self.answer is not None:
            return self.answer
        if path == "/EmitEvent":
            self.events.append(RuntimeEvent(body["event"], bytes.fromhex(body["payload"])))
            return b""
        assert path == "/GetQuote"
        return json.dumps(self.quote(bytes.fromhex(body["report_data"]))).encode()


@contextmanager
def serving(agent: Agent, path: Path) -> Iterator[None]:
    """Answer HTTP on a Unix socket until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = agent.answer_to(self.path, body)
            self.send_response(agent.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return "unix"

    with ThreadingUnixStreamServer(str(path), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving_lists(lists: bytes, answers: dict[str, tuple[int, bytes]] | None = None) -> Iterator[str]:
    """Answer as a PCCS does, until the block ends; `answers` replaces what a path's end says."""
    fields = json.loads(lists)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.partition("?")[0].rpartition("/")[2]
            status, body, headers = 200, b"", {}
            match name:
                case "pckcrl":
                    assert self.path.endswith("?ca=platform&encoding=der")
                    body = bytes.fromhex(fields["pck_crl"])
                    headers = {"SGX-PCK-CRL-Issuer-Chain": fields["pck_crl_issuer_chain"]}
                case "rootcacrl":
                    body = fields["root_ca_crl"].encode()
                case "tcb":
                    assert self.path.endswith("?fmspc=00DEADBEEF00")
                    body = signed("tcbInfo", fields["tcb_info"], fields["tcb_info_signature"])
                    headers = {"TCB-Info-Issuer-Chain": fields["tcb_info_issuer_chain"]}
                case "identity":
                    body = signed("enclaveIdentity", fields["qe_identity"], fields["qe_identity_signature"])
                    headers = {"SGX-Enclave-Identity-Issuer-Chain": fields["qe_identity_issuer_chain"]}
                case _:
                    status = 404
            status, body = (answers or {}).get(name, (status, body))
            self.send_response(status)
            for header, value in headers.items():
                self.send_header(header, quote(value))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    def signed(name: str, text: str, signature: str) -> bytes:
        return f'{{"{name}":{text},"signature":"{signature}"}}'.encode()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/pccs/"
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Mirror:
    """A source of lists that counts who asks."""

    lists: bytes | None
    asked: list[Platform] = field(default_factory=list)

    async def fetch(self, platform: Platform, quote: bytes) -> bytes:
        self.asked.append(platform)
        if self.lists is None:
            raise Unavailable("the mirror is down")
        return self.lists
