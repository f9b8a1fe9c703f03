"""OpenAI's API in front of a client: `cocoon gateway`.

    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve, client, Settings(port=0))

A request comes in at the door (`door`), its body is read and means work (`app`, `*_request`, `works`); an
answer is a flight that one client or several wait for (`flights`, `flow`, `repeats`), and is told to each
of them as HTTP (`telling`), by hypercorn on bounded connections (`connections`, `server`).
"""

from cocoon_p2p.gateway.server import serve as serve
from cocoon_p2p.gateway.settings import Settings as Settings
