"""The page on which a running node shows its owner how it does: read by anybody who reaches it, on loopback.

    /            the page                              (HTML, renewed from /events)
    /events      what has changed on it                (server-sent events, at most once a second)
    /status.json the snapshot that all of it is made of
    /metrics     the same and the journal's sums       (Prometheus)
    /healthz     200: the process lives, and its loop turns
    /readyz      200, or 503 with the reason while the node does not do what it is there for
    /act/NAME    POST: what the owner has done, with a token and from this very page

It knows nothing but `overview.Snapshot`, and is given callables for what can be done (`Deeds`). It needs the
extra `page`.

Spec: docs/page.md.
"""

from cocoon_p2p.page.app import Page as Page
from cocoon_p2p.page.deeds import Deeds as Deeds
from cocoon_p2p.page.gate import TOKEN_FILE as TOKEN_FILE
from cocoon_p2p.page.gate import Gate as Gate
from cocoon_p2p.page.gate import keep_token as keep_token
