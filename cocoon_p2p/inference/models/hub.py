"""What the hub says of a repository: its files, their sizes and hashes, its commit and licence.

One answer pins all of it to a commit, so that the parts of a model are of one revision. Large files
are named by their SHA-256, small ones by git's name for their bytes.

Spec: https://huggingface.co/docs/hub/api, GET /api/models/{repo}/revision/{revision}?blobs=true.
"""

import re
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final
from urllib.parse import quote

import msgspec

from cocoon_p2p.errors import ConfigurationError, RemoteProtocolError
from cocoon_p2p.inference.manifest import SPEECH_WEIGHTS, is_model_file, split_parts
from cocoon_p2p.inference.models.entry import GGUF, SAFETENSORS
from cocoon_p2p.inference.models.fetching import Fetcher, persist
from cocoon_p2p.inference.models.source import HubSource

ANSWER_MAX_BYTES: Final = 16 << 20
"A repository of 10,000 files takes some three megabytes."

_HASH = re.compile(r"[0-9a-f]{64}")
_GIT_NAME = re.compile(r"[0-9a-f]{40}")


class _Large(msgspec.Struct, frozen=True):
    sha256: str = ""
    size: int = 0


class _Sibling(msgspec.Struct, frozen=True):
    rfilename: str
    size: int | None = None
    blob_id: str | None = msgspec.field(default=None, name="blobId")
    lfs: _Large | None = None


class _Repository(msgspec.Struct, frozen=True):
    sha: str
    siblings: list[_Sibling] = []
    tags: list[str] = []


class HubFile(msgspec.Struct, frozen=True):
    """One file of a repository."""

    path: str
    size_bytes: int | None
    sha256: str
    git_blob: str
    "Each empty where the hub does not say."


class Listing(msgspec.Struct, frozen=True):
    """A repository at one commit."""

    commit: str
    licence: str
    files: tuple[HubFile, ...]


async def list_repository(source: HubSource, fetcher: Fetcher) -> Listing:
    """Ask the hub for a repository at a revision.

    Raises:
        ConfigurationError: There is none, or it is not for everybody.
        RemoteProtocolError: The answer is too large, or makes no sense.
        Unavailable: The hub cannot be reached.
    """
    url = (
        f"{fetcher.hub}/api/models/{source.repository}/revision/{quote(source.revision, safe='')}?blobs=true"
    )

    async def ask() -> bytes:
        body = bytearray()
        async with fetcher.get(url, {}) as answer, aclosing(answer.body) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > ANSWER_MAX_BYTES:
                    raise RemoteProtocolError(
                        f"the hub's answer is too large (limit={ANSWER_MAX_BYTES} bytes)"
                    )
        return bytes(body)

    answer = await persist(ask, fetcher.patience)
    try:
        found = msgspec.json.decode(answer, type=_Repository)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise RemoteProtocolError(f"the hub's answer makes no sense ({exc})") from exc
    if not _GIT_NAME.fullmatch(found.sha):
        raise RemoteProtocolError("the hub's answer makes no sense (no commit)")
    licence = next((tag.partition(":")[2] for tag in found.tags if tag.startswith("license:")), "")
    return Listing(found.sha, _plain(licence), tuple(map(_file, found.siblings)))


def _file(sibling: _Sibling) -> HubFile:
    large = sibling.lfs or _Large()
    sha256 = large.sha256 if _HASH.fullmatch(large.sha256) else ""
    # Git's name for a large file is that of a note on where it lies; its hash comes with its bytes then.
    is_weights = sibling.rfilename.endswith((GGUF, SAFETENSORS))
    git_blob = sibling.blob_id or ""
    if sibling.lfs is not None or is_weights or not _GIT_NAME.fullmatch(git_blob):
        git_blob = ""
    return HubFile(sibling.rfilename, sibling.size or large.size or None, sha256, git_blob)


def _plain(text: str) -> str:
    return text[:64] if text.isprintable() else ""


def model_paths(listing: Listing, source: HubSource) -> Sequence[str]:
    """Choose the files of a repository that are the model asked for.

    Raises:
        ConfigurationError: It has none, or more than one.
    """
    there = {file.path for file in listing.files}
    if source.path:
        folder = source.path.rpartition("/")[0]
        parts = [f"{folder}/{name}".lstrip("/") for name in split_parts(source.file_name)]
        paths = parts or [source.path]
        missing = [path for path in paths if path not in there]
        if missing:
            raise ConfigurationError(
                f"no such file in the repository: {missing[0]} (repository={source.repository})",
                hint=_choices(there),
            )
        return paths
    top = [path for path in there if "/" not in path and not path.startswith(".")]
    if SPEECH_WEIGHTS in top or any(path.endswith(SAFETENSORS) for path in top):
        return sorted(filter(is_model_file, top))
    raise ConfigurationError(
        f"no safetensors at its top, and no {SPEECH_WEIGHTS} (repository={source.repository})",
        hint=_choices(there),
    )


def _choices(there: set[str]) -> str:
    ggufs = sorted(path for path in there if path.endswith(GGUF) and path.isprintable())
    if not ggufs:
        return "it has no .gguf file either; look at its page for the right repository or revision"
    more = f" and {len(ggufs) - 8} more" if len(ggufs) > 8 else ""
    return f"it has {', '.join(ggufs[:8])}{more}"
