"""The asyncio face: the same names as the library on trio, for programs whose loop is asyncio's or uvloop's.

`client` has what programs use. A trio thread is open for as long as a block lasts (`opening`), with one
door to it (`portal`); calls through that door are waited for and cancelled in asyncio (`calling`). An
answer's block is held open on trio by a task of its own (`holding`), and its pieces come out in
bursts (`flow`).
"""

from cocoon_p2p.aio.client import Answer as Answer
from cocoon_p2p.aio.client import Asked as Asked
from cocoon_p2p.aio.client import Client as Client
from cocoon_p2p.aio.client import open_client as open_client
