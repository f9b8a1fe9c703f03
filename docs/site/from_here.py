"""Keeps the site one that loads nothing from elsewhere: a page which would is a fault of the build."""

import re

_FOREIGN = re.compile(
    r"""<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//[^>]*>""", re.IGNORECASE
)


def on_post_page(output: str, *, page: object, **_: object) -> str:
    """Refuse a page that has a reader's browser fetch from another server; links may lead anywhere."""
    foreign = [tag for tag in _FOREIGN.findall(output) if 'rel="canonical"' not in tag]
    if foreign:
        raise ValueError(f"{page}: loads from elsewhere: {foreign[0]}")
    return output
