"""A text and how it is to be read: by a parse mode, or with entities beside it."""

from cocoon_p2p.testing.bot_api import entities
from cocoon_p2p.testing.bot_api.answers import bad_request
from cocoon_p2p.testing.bot_api.entities import BODY_LIMIT, Marked, as_kept
from cocoon_p2p.testing.bot_api.html import parse_html
from cocoon_p2p.testing.bot_api.markdown import parse_markdown


def read_markup(text: str, parse_mode: str, given: object) -> Marked:
    """Read a text as the server does; the mode's name may be written in any case.

    Raises:
        Rejected: The markup is broken, or the mode is none.
    """
    if len(text.encode()) > BODY_LIMIT:
        raise bad_request("text is too long")
    match parse_mode.lower() if text else "":
        case "" | "none":
            marked = entities.given(text, given)
        case "html":
            marked = parse_html(text)
        case "markdownv2":
            marked = parse_markdown(text)
        case _:
            raise bad_request("unsupported parse_mode")
    return as_kept(marked)
