"""How a gateway is reached, and how much it bears."""

from dataclasses import dataclass

from cocoon_p2p.units import Nano

_MAX_PRICE = Nano(100_000_000)


@dataclass(frozen=True, slots=True)
class Settings:
    """What whoever runs a gateway decides."""

    host: str = "127.0.0.1"
    "An IP address to listen on. One that others can reach needs an API key first."

    port: int = 8900
    "0: the system chooses."

    names: tuple[str, ...] = ()
    "Names it is called by, beside `localhost` and IP addresses: `Host: api.example.org`."

    max_price: Nano = _MAX_PRICE
    "What one answer may cost where its request does not say, in nanoTON."

    requests_max: int = 128
    "Requests that are served at once; one more is told to come again."

    connections_max: int = 1024
    "Connections that are open at once; one more is closed."

    bodies_max_bytes: int = 128 * 1024 * 1024
    "What the bodies of all requests that are being read or answered may take together."

    body_seconds: float = 60.0
    "How long a request may take to arrive whole."

    send_seconds: float = 60.0
    "How long a client may leave what it was sent unread, before it is taken for gone."

    idle_seconds: float = 75.0
    "How long a connection is kept that nothing is asked on; longer than most load balancers keep theirs."

    silence_seconds: float = 15.0
    "After so long without a word a stream says that it is still there."

    answer_seconds: float = 590.0
    "For a whole answer: a little less than the OpenAI SDK waits."

    grace_seconds: float = 20.0
    "How long running answers have to end when the gateway is told to."
