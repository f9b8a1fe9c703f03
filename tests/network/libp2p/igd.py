"""A router of a test's own: it answers searches on loopback, and forwards ports in a dictionary.

It speaks what miniupnpc speaks: SSDP over UDP multicast, a description in XML, SOAP over HTTP. The
multicast port is the one thing here that cannot be chosen, so it is shared (SO_REUSEADDR).
"""

import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

SSDP = ("239.255.255.250", 1900)
SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"

DESCRIPTION = f"""<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>{DEVICE}</deviceType><friendlyName>test</friendlyName><UDN>uuid:igd</UDN><deviceList>
<device><deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><UDN>uuid:wan</UDN><deviceList>
<device><deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><UDN>uuid:conn</UDN>
<serviceList><service><serviceType>{SERVICE}</serviceType>
<serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId><controlURL>/control</controlURL>
<eventSubURL>/events</eventSubURL><SCPDURL>/scpd</SCPDURL></service></serviceList></device>
</deviceList></device></deviceList></device></root>"""


@dataclass
class Router:
    """What it has forwarded, and how it misbehaves."""

    outside: str = "5.9.7.7"
    knows_leases: bool = True
    reserved: set[int] = field(default_factory=set[int])
    "Ports that somebody else has."

    forwarded: dict[int, tuple[str, int, int]] = field(default_factory=dict[int, tuple[str, int, int]])
    "By the port outside: host and port inside, and the lease in seconds."

    renewals: int = 0
    questions: int = 0
    is_silent: bool = False
    "It takes questions and never answers."

    changed: trio.Event = field(default_factory=trio.Event)

    def obey(self, action: str, said: dict[str, str]) -> dict[str, str] | int:
        """Do what a SOAP call asks; give its results, or the number of an error."""
        self.questions += 1
        match action:
            case "GetExternalIPAddress":
                return {"NewExternalIPAddress": self.outside}
            case "GetStatusInfo":
                return {
                    "NewConnectionStatus": "Connected", "NewLastConnectionError": "", "NewUptime": "1",
                }  # fmt: skip
            case "AddPortMapping":
                port, lease = int(said["NewExternalPort"]), int(said["NewLeaseDuration"])
                if port in self.reserved:
                    return 718
                if lease and not self.knows_leases:
                    return 725
                self.renewals += port in self.forwarded
                self.forwarded[port] = (said["NewInternalClient"], int(said["NewInternalPort"]), lease)
            case "DeletePortMapping":
                if self.forwarded.pop(int(said["NewExternalPort"]), None) is None:
                    return 714
            case _:
                return 401
        self.changed.set()
        self.changed = trio.Event()
        return {}


@asynccontextmanager
async def open_router(router: Router) -> AsyncIterator[None]:
    """Let the router answer on loopback while the block lasts."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def serve(stream: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await _answer(stream, router)

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        nursery.start_soon(_answer_searches, listener.socket.getsockname()[1])
        yield
        nursery.cancel_scope.cancel()


async def _answer_searches(port: int) -> None:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await here.bind(SSDP)
        group = struct.pack("4s4s", socket.inet_aton(SSDP[0]), socket.inet_aton("127.0.0.1"))
        here.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        while True:
            search, whence = await here.recvfrom(2048)
            if search.startswith(b"M-SEARCH"):
                answer = (
                    f"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=60\r\nST: {DEVICE}\r\n"
                    f"USN: uuid:igd::{DEVICE}\r\nEXT:\r\nSERVER: test\r\n"
                    f"LOCATION: http://127.0.0.1:{port}/description.xml\r\n\r\n"
                )
                await here.sendto(answer.encode(), whence)


async def _answer(stream: trio.SocketStream, router: Router) -> None:
    async with stream:
        raw = b""
        while b"\r\n\r\n" not in raw:
            if not (data := await stream.receive_some()):
                return
            raw += data
        if router.is_silent:
            await trio.sleep_forever()
        head, _, body = raw.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        while length is not None and len(body) < int(length[1]):
            body += await stream.receive_some()
        status, text = _page(head.decode(), body.decode(), router)
        reply = text.encode()
        await stream.send_all(
            f"HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: {len(reply)}\r\n"
            "Connection: close\r\n\r\n".encode()
            + reply
        )


def _page(head: str, body: str, router: Router) -> tuple[str, str]:
    if head.startswith("GET"):
        return "200 OK", DESCRIPTION
    called = re.search(r'(?i)soapaction: *"[^#"]*#(\w+)"', head)
    assert called is not None, head
    done = router.obey(called[1], dict(re.findall(r"<(New\w+)>([^<]*)</", body)))
    if isinstance(done, int):
        inner = (
            "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
            f'<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>{done}</errorCode>'
            "<errorDescription>no</errorDescription></UPnPError></detail></s:Fault>"
        )
    else:
        results = "".join(f"<{name}>{value}</{name}>" for name, value in done.items())
        inner = f'<u:{called[1]}Response xmlns:u="{SERVICE}">{results}</u:{called[1]}Response>'
    envelope = (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f"{inner}</s:Body></s:Envelope>"
    )
    return "500 Internal Server Error" if isinstance(done, int) else "200 OK", envelope
