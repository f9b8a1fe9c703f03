"""Forms of several parts, as libraries send them: a call's arguments, or a webhook's answer."""

from aiohttp import BodyPartReader, MultipartReader

from cocoon_p2p.testing.bot_api.answers import bad_request
from cocoon_p2p.testing.bot_api.arguments import Arguments, Upload


async def read_form(reader: MultipartReader, beside: dict[str, object] | None = None) -> Arguments:
    """Read a form's fields and files, and what came beside it.

    Raises:
        Rejected: It is none.
    """
    values, uploads = dict(beside or {}), dict[str, Upload]()
    try:
        async for part in reader:
            if isinstance(part, BodyPartReader) and part.name:
                content = bytes(await part.read())
                if part.filename is None:
                    values[part.name] = content.decode()
                else:
                    uploads[part.name] = Upload(part.filename, content)
    except ValueError:
        raise bad_request("can't parse form data headers") from None
    return Arguments(values, uploads)
