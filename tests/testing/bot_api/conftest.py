"""What all tests of the fake share."""

import ssl

import pytest

CONTEXT = ssl.create_default_context()


def read_once(*, cafile: str) -> ssl.SSLContext:
    """Give the certificates that were read already."""
    assert cafile
    return CONTEXT


@pytest.fixture(autouse=True)
def _certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # aiogram reads them for each session: 30 ms, for connections that have no TLS.
    monkeypatch.setattr("aiogram.client.session.aiohttp.ssl.create_default_context", read_once)
