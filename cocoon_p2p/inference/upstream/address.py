"""Where a server is: its address, checked, and whether prompts travel there in the clear. Pure."""

from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from cocoon_p2p.errors import ConfigurationError

_OWN_NAMES = ("localhost", ".localhost", ".local", ".internal", ".lan", ".home.arpa")
"Names that no public DNS gives out, or not for anybody else's machine."


def root_of(url: str) -> str:
    """Check a server's address, and cut it down to its root.

    Raises:
        ConfigurationError: It is none, or holds a secret.
    """
    try:
        parts = urlsplit(url)
        _ = httpx.URL(url), parts.port
    except (ValueError, httpx.InvalidURL):
        parts = urlsplit("")
    if parts.username is not None or parts.query:
        raise ConfigurationError(
            "the server's address holds a secret, or a query",
            hint="write the key into a file and name it in api_key_file",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        # Not quoted: what is misspelt may hold a key all the same.
        raise ConfigurationError(
            "worker.model is not the address of a server", hint="write it as http://127.0.0.1:8000"
        )
    return url.rstrip("/").removesuffix("/v1")


def is_in_clear(root: str) -> bool:
    """Whether what is sent there can be read on the way: plain HTTP to a host that is not near.

    Near is this machine, an address of a private network, or a name that only one knows.
    """
    parts = urlsplit(root)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme == "https":
        return False
    try:
        address = ip_address(host)
    except ValueError:
        return "." in host and not host.endswith(_OWN_NAMES)
    return not (address.is_private or address.is_loopback or address.is_link_local)
