"""Files: what was sent, by the ids that each bot knows it under."""

import hashlib
from dataclasses import dataclass

from cocoon_p2p.testing.bot_api.answers import FILE_TOO_BIG, WRONG_FILE, Rejected, bad_request
from cocoon_p2p.testing.bot_api.messages import Json, Media

DOWNLOAD_MAX_BYTES = 20 * 1024 * 1024
"What getFile gives a bot (core.telegram.org/bots/api#getfile)."

UPLOAD_MAX_BYTES = 50 * 1024 * 1024
"What a bot may send (core.telegram.org/bots/api#sending-files)."

_PLACES = {
    "voice": ("voice", "oga"),
    "audio": ("music", "mp3"),
    "photo": ("photos", "jpg"),
    "video": ("videos", "mp4"),
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media: Media


class Files:
    """The server's store of files. An id of one bot's is nothing to another."""

    def __init__(self) -> None:
        self._by_id: dict[str, _File] = {}
        self._by_path: dict[tuple[int, str], bytes] = {}

    def put(
        self, bot_id: int, kind: str, content: bytes, *, seconds: int = 0, mime: str = "", name: str = ""
    ) -> Media:
        """Keep a file, for one bot.

        Raises:
            Rejected: A bot may not send so much.
        """
        if len(content) > UPLOAD_MAX_BYTES:
            raise Rejected(413, "Request Entity Too Large")
        digest = hashlib.sha256(content).hexdigest()
        file_id = f"{kind}-{bot_id}-{len(self._by_id) + 1}-{digest[:16]}"
        media = Media(kind, file_id, digest[:12], len(content), seconds, mime, name)
        self._by_id[file_id] = _File(content, media)
        return media

    def media(self, bot_id: int, file_id: str) -> Media:
        """Give what an id stands for.

        Raises:
            Rejected: It is none of this bot's.
        """
        if file_id not in self._by_id or file_id.split("-")[1] != str(bot_id):
            raise bad_request(WRONG_FILE)
        return self._by_id[file_id].media

    def content(self, file_id: str) -> bytes:
        """Give the bytes of a file that a bot sent, as the person has them."""
        return self._by_id[file_id].content

    def prepare(self, bot_id: int, file_id: str) -> Json:
        """Make a file ready to be fetched (getFile).

        Raises:
            Rejected: There is none, or it is more than a bot may fetch.
        """
        media = self.media(bot_id, file_id)
        if media.size_bytes > DOWNLOAD_MAX_BYTES:
            raise bad_request(FILE_TOO_BIG)
        folder, ending = _PLACES.get(media.kind, ("documents", media.name.rpartition(".")[2] or "bin"))
        path = f"{folder}/file_{len(self._by_path)}.{ending}"
        self._by_path[bot_id, path] = self._by_id[file_id].content
        return {
            "file_id": file_id,
            "file_unique_id": media.unique_id,
            "file_size": media.size_bytes,
            "file_path": path,
        }

    def fetch(self, bot_id: int, path: str) -> bytes | None:
        """Give a file that was made ready, or None."""
        return self._by_path.get((bot_id, path))
