"""Where a model comes from: `hf:OWNER/REPO[/FILE]` on the hub, or a URL. Only text is judged here.

Plain `http` is taken for loopback, and where the bytes' hash is known beforehand (`fetching` sees to
that); elsewhere who sits on the line could put another model in the place of the one asked for.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from cocoon_p2p.errors import ConfigurationError

HUB_URL: Final = "https://huggingface.co"
MAIN: Final = "main"

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ +()-]{0,199}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}")
_HOW: Final = "write hf:OWNER/REPO/FILE.gguf, hf:OWNER/REPO for a folder of safetensors, or https://..."


@dataclass(frozen=True, slots=True)
class HubSource:
    """A file, or all of a model's files, in a repository of the hub's."""

    repository: str
    "Owner and name: `Qwen/Qwen3-0.6B-GGUF`."

    path: str
    "Of one file in it; empty for the model that its files make."

    revision: str
    "A branch, a tag or a commit."

    @property
    def file_name(self) -> str:
        return self.path.rpartition("/")[2]

    def url(self, hub: str, path: str) -> str:
        """Give the address of one of the repository's files."""
        return f"{hub}/{self.repository}/resolve/{quote(self.revision, safe='')}/{quote(path)}"


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A file anywhere."""

    url: str

    @property
    def file_name(self) -> str:
        return unquote(urlsplit(self.url).path.rpartition("/")[2])

    def beside(self, name: str) -> str:
        """Give the address of a file in the same place."""
        parts = urlsplit(self.url)
        return parts._replace(path=f"{parts.path.rpartition('/')[0]}/{quote(name)}").geturl()


Source = HubSource | UrlSource


def parse_source(text: str, revision: str = "") -> Source:
    """Read a source.

    Args:
        text: `hf:OWNER/REPO`, `hf:OWNER/REPO/FILE`, or a URL.
        revision: The hub's, by default `main`. A URL has none.

    Raises:
        ConfigurationError: It is none of these.
    """
    if text.startswith("hf:"):
        return _hub_source(text, revision or MAIN)
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        url = urlsplit("")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigurationError(f"not a source of models: {text!r}", hint=_HOW)
    if url.username is not None or url.password is not None:
        # It would be kept with the model, and shown.
        raise ConfigurationError(
            "a source must not hold a password", hint="take out what stands before the @"
        )
    if revision:
        raise ConfigurationError("a URL has no revision", hint="only sources that begin with hf: do")
    source = UrlSource(text)
    if not _SEGMENT.fullmatch(source.file_name):
        raise ConfigurationError(f"the URL names no file: {text!r}", hint=_HOW)
    return source


def _hub_source(text: str, revision: str) -> HubSource:
    segments = text.removeprefix("hf:").split("/")
    if len(segments) < 2 or any(not _SEGMENT.fullmatch(segment) or ".." in segment for segment in segments):
        raise ConfigurationError(f"not a source of models: {text!r}", hint=_HOW)
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise ConfigurationError(f"not a revision: {revision!r}", hint="name a branch, a tag or a commit")
    return HubSource("/".join(segments[:2]), "/".join(segments[2:]), revision)


def without_query(url: str) -> str:
    """What of an address may be kept and shown: links that hosts sign are as good as passwords."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine itself."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def origin(url: str) -> tuple[str, str, int]:
    """Give who answers for a URL: scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def default_name(source: Source) -> str:
    """Call a model by its file, or by its repository and a revision that is not the main one."""
    if source.file_name:
        named = re.sub(r"(-\d{5}-of-\d{5})?\.[A-Za-z0-9]+$", "", source.file_name)
    else:
        assert isinstance(source, HubSource)
        named = source.repository.partition("/")[2]
        is_plain = source.revision == MAIN or re.fullmatch(r"[0-9a-f]{40}", source.revision)
        named += "" if is_plain else f"-{source.revision}"
    return re.sub(r"[^a-z0-9._]+", "-", named.lower()).strip("-._")[:96] or "model"
