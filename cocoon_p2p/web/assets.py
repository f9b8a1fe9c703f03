"""A site's files: scripts, styles and their licences, from memory, each at an address with its hash in it.

A file that changes has another address, so browsers may keep what they have for good.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

SHARED = Path(__file__).parent / "assets"
"What all sites have: `site.css`, `live.js`, `plot.js`, and uPlot."

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}
_FOR_GOOD = {"cache-control": "public, max-age=31536000, immutable"}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    kind: str
    address: str


class Assets:
    """The files of one site.

    Args:
        folders: Where they are, besides `SHARED`; of two with one name the later one counts.
    """

    def __init__(self, *folders: Path) -> None:
        self._files: Mapping[str, _File] = {
            path.name: _read(path)
            for folder in (SHARED, *folders)
            for path in sorted(folder.iterdir())
            if path.suffix in _TYPES
        }

    @property
    def route(self) -> Route:
        """Where they are served from."""
        return Route("/assets/{digest}/{name}", self._serve)

    def address(self, name: str) -> str:
        """Say where a file is; in templates, `asset("site.css")`."""
        return self._files[name].address

    async def _serve(self, request: Request) -> Response:
        file = self._files.get(request.path_params["name"])
        # An old page's address is not answered with a new file: browsers would keep it under the old hash.
        if file is None or file.address != request.url.path:
            return PlainTextResponse("no such file\n", 404)
        return Response(file.body, media_type=file.kind, headers=_FOR_GOOD)


def _read(path: Path) -> _File:
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:16]
    return _File(body, _TYPES[path.suffix], f"/assets/{digest}/{path.name}")
