"""AutoNAT v2 between nodes on loopback: what is proved, what is refused, and what an attacker gets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from libp2p.io.trio import TrioTCPStream

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import Identity, PeerId
from cocoon_p2p.network.libp2p import autonat_server
from cocoon_p2p.network.libp2p.address_bytes import encode_address
from cocoon_p2p.network.libp2p.addresses import Address, parse_address
from cocoon_p2p.network.libp2p.announced import is_public_host
from cocoon_p2p.network.libp2p.autonat_client import AutonatClient, open_autonat_client
from cocoon_p2p.network.libp2p.autonat_server import (
    DATA_SIZES_BYTES,
    DIALS_FOR_ASKER,
    PORTS_LEFT_ALONE,
    AutonatServer,
    choose,
    open_autonat_server,
)
from cocoon_p2p.network.libp2p.autonat_wire import (
    DIAL_BACK,
    DIAL_REQUEST,
    Data,
    DataWanted,
    DialRequest,
    DialResponse,
    DialStatus,
    ResponseStatus,
    encode,
    encode_dial_back,
    receive,
)
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.libp2p.punched import PunchedConnection
from cocoon_p2p.network.transport import Stream
from tests.network.libp2p.relaying import open_private, open_relay

SERVER, NODE, THIRD = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
LOOPBACK = ["/ip4/127.0.0.1/tcp/0"]
ELSEWHERE = Address("ip4", "203.0.113.7", 4001)
WITHIN_SECONDS = 60.0


def place(transport: Libp2pTransport) -> Address:
    return parse_address(transport.addresses[0])[0]


def asking(*addresses: Address, nonce: int = 7) -> DialRequest:
    return DialRequest(tuple(map(encode_address, addresses)), nonce)


@asynccontextmanager
async def two_nodes() -> AsyncIterator[tuple[Libp2pTransport, Libp2pTransport]]:
    """A server-to-be and a node that is connected to it."""
    async with (
        open_transport(SERVER, listen=LOOPBACK) as server,
        open_transport(NODE, listen=LOOPBACK) as node,
    ):
        with trio.fail_after(WITHIN_SECONDS):
            await node.dial(server.addresses)
            yield server, node


# ------------------------------------------------------------------ between honest ones


async def test_a_node_that_can_be_dialled_is_told_so() -> None:
    async with (
        two_nodes() as (server, node),
        open_autonat_server(server),
        open_autonat_client(node) as client,
    ):
        assert await client.ask(SERVER.peer_id, place(node)) is True


@pytest.fixture
def short_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autonat_server, "DIAL_SECONDS", 1.0)


@pytest.mark.slow
@pytest.mark.usefixtures("short_dials")
async def test_a_node_that_cannot_be_dialled_is_told_so() -> None:
    async with (
        two_nodes() as (server, node),
        open_autonat_server(server),
        open_autonat_client(node) as client,
    ):
        (closed,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nobody = Address("ip4", "127.0.0.1", closed.socket.getsockname()[1])
        await closed.aclose()

        assert await client.ask(SERVER.peer_id, nobody) is False


@pytest.mark.slow
@pytest.mark.usefixtures("short_dials")
async def test_somebody_else_who_answers_there_is_not_us() -> None:
    async with (
        two_nodes() as (server, node),
        open_transport(THIRD, listen=LOOPBACK) as third,
        open_autonat_server(server),
        open_autonat_client(node) as client,
    ):
        assert await client.ask(SERVER.peer_id, place(third)) is False


async def test_a_peer_that_serves_no_autonat_says_nothing() -> None:
    async with two_nodes() as (_, node), open_autonat_client(node) as client:
        assert await client.ask(SERVER.peer_id, place(node)) is None


# ------------------------------------------------------------------ a server that is asked for other things


@dataclass
class Dialled:
    """Stands in for the dial itself, and remembers."""

    places: list[Address] = field(default_factory=list[Address])

    async def __call__(self, address: Address, peer: PeerId, nonce: int) -> DialStatus:
        await trio.lowlevel.checkpoint()
        self.places.append(address)
        return DialStatus.OK


@asynccontextmanager
async def recording_server() -> AsyncIterator[
    tuple[Libp2pTransport, Dialled, Callable[[], Awaitable[Stream]]]
]:
    async with two_nodes() as (server, node):
        dialled = Dialled()
        server.accept_streams(DIAL_REQUEST, AutonatServer(server, dialled).accept)
        yield server, dialled, lambda: node.open_stream(SERVER.peer_id, DIAL_REQUEST)


@pytest.fixture
def routes_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def has_route(_host: str) -> bool:
        return True

    monkeypatch.setattr(autonat_server, "has_route", has_route)


@pytest.mark.usefixtures("routes_everywhere")
async def test_a_dial_to_a_third_party_costs_the_asker_more_than_it_costs_the_third() -> None:
    async with recording_server() as (_, dialled, opened):
        stream = await opened()
        await stream.write(encode(asking(ELSEWHERE)))
        wanted = await receive(stream)
        assert isinstance(wanted, DataWanted)
        assert DATA_SIZES_BYTES[0] <= wanted.size_bytes <= DATA_SIZES_BYTES[1]

        for left in range(wanted.size_bytes, 0, -4096):
            assert dialled.places == []
            await stream.write(encode(Data(min(left, 4096))))

        assert await receive(stream) == DialResponse(ResponseStatus.OK, 0, DialStatus.OK)
        assert dialled.places == [ELSEWHERE]


@pytest.mark.usefixtures("routes_everywhere")
@pytest.mark.parametrize("paid", [Data(0), asking(ELSEWHERE)])
async def test_whoever_does_not_pay_gets_no_dial(paid: Data | DialRequest) -> None:
    async with recording_server() as (_, dialled, opened):
        stream = await opened()
        await stream.write(encode(asking(ELSEWHERE)))
        assert isinstance(await receive(stream), DataWanted)

        await stream.write(encode(paid))
        with pytest.raises(Unavailable):
            await receive(stream)

        assert dialled.places == []


@pytest.mark.usefixtures("routes_everywhere")
async def test_a_server_dials_nothing_of_its_own_network_and_not_itself() -> None:
    async with recording_server() as (server, dialled, opened):
        server.announced.offer("observed", [str(ELSEWHERE)])
        stream = await opened()
        own = (Address("ip4", "127.0.0.2", 4001), Address("ip4", "10.0.0.1", 4001), ELSEWHERE)

        await stream.write(encode(asking(*own)))

        assert await receive(stream) == DialResponse(ResponseStatus.REFUSED)
        assert dialled.places == []


@pytest.mark.usefixtures("routes_everywhere")
async def test_a_flood_of_questions_is_turned_away() -> None:
    async with recording_server() as (_, dialled, opened):
        answers = list[object]()
        for _ in range(int(DIALS_FOR_ASKER.burst) + 5):
            stream = await opened()
            await stream.write(encode(asking(Address("ip4", "127.0.0.1", 4001))))
            answers.append(await receive(stream))

        assert answers[-1] == DialResponse(ResponseStatus.REJECTED)
        assert len(dialled.places) <= DIALS_FOR_ASKER.burst + 1


async def test_a_second_question_of_one_asker_ends_the_first() -> None:
    async with recording_server() as (_, _, opened):
        first = await opened()
        await first.write(b"\x10")
        second = await opened()
        await second.write(encode(asking(Address("ip4", "127.0.0.1", 4001))))

        assert isinstance(await receive(second), DialResponse)
        with pytest.raises(Unavailable):
            await first.read(1)


@pytest.mark.parametrize("said", [b"\x01\xff", encode(Data(10)), b"\xff\xff\xff\xff", b"\x80\x80\x01"])
async def test_what_is_no_question_ends_its_stream_and_nothing_else(said: bytes) -> None:
    async with recording_server() as (_, _, opened):
        stream = await opened()
        await stream.write(said)
        with pytest.raises(Unavailable):
            await stream.read(1)

        another = await opened()
        await another.write(encode(asking(Address("ip4", "127.0.0.1", 4001))))
        assert isinstance(await receive(another), DialResponse)


# ------------------------------------------------------------------ what is dialled at all


HOSTS = st.sampled_from(
    ["127.0.0.1", "127.9.9.9", "10.0.0.1", "192.168.1.5", "100.64.0.1", "169.254.169.254", "0.0.0.0",
     "224.0.0.1", "203.0.113.7", "8.8.8.8"]
)  # fmt: skip
OWN = st.lists(st.builds(Address, st.just("ip4"), HOSTS, st.just(4001)), max_size=2)
ADDRESSES = st.builds(Address, st.just("ip4"), HOSTS, st.integers(0, 65535))


@given(st.lists(ADDRESSES, max_size=6), HOSTS, OWN)
def test_only_the_askers_own_place_or_a_paid_public_one_is_ever_dialled(
    addresses: list[Address], asker: str, own: list[Address]
) -> None:
    chosen = choose(asking(*addresses), asker, own)

    if chosen is None:
        return
    assert chosen.address == addresses[chosen.place]
    assert chosen.address.port not in PORTS_LEFT_ALONE
    assert chosen.is_elsewhere is (chosen.address.host != asker)
    if chosen.is_elsewhere:
        assert is_public_host(chosen.address.host)
        assert chosen.address.host not in [each.host for each in own]


def test_a_server_that_is_announced_by_name_dials_all_the_same() -> None:
    chosen = choose(asking(ELSEWHERE), ELSEWHERE.host, own=[Address("dns4", "proxy.example.org", 4001)])

    assert chosen is not None


def test_the_first_address_that_can_be_dialled_is() -> None:
    request = asking(Address("dns4", "localhost", 4001), Address("ip6", "2001:db8::1", 4001), ELSEWHERE)

    chosen = choose(request, "198.51.100.1", can_reach=lambda host: ":" not in host)

    assert chosen is not None
    assert (chosen.place, chosen.address) == (2, ELSEWHERE)


def test_an_asker_behind_a_dual_stack_listener_is_where_it_comes_from() -> None:
    chosen = choose(asking(ELSEWHERE), "::ffff:203.0.113.7")

    assert chosen is not None
    assert not chosen.is_elsewhere


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_addresses_that_are_none_are_passed_over(raws: list[bytes]) -> None:
    chosen = choose(DialRequest((*raws, encode_address(ELSEWHERE)), 7), "198.51.100.1")

    assert chosen is not None


@pytest.mark.slow
@pytest.mark.usefixtures("short_dials")
async def test_whether_a_port_is_open_cannot_be_seen_in_how_long_a_failure_takes() -> None:
    """Closed, open without a word, and open with another's key: all end when the dial's time is over."""
    async with (
        two_nodes() as (server, node),
        open_transport(THIRD, listen=LOOPBACK) as third,
        open_autonat_server(server),
    ):
        silent, closed = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(2)]
        ports = [each.socket.getsockname()[1] for each in (silent, closed)]
        await closed.aclose()
        targets = [*(Address("ip4", "127.0.0.1", port) for port in ports), place(third)]
        for target in targets:
            began = trio.current_time()
            stream = await node.open_stream(SERVER.peer_id, DIAL_REQUEST)
            await stream.write(encode(asking(target)))

            assert await receive(stream) == DialResponse(ResponseStatus.OK, 0, DialStatus.DIAL_ERROR)
            assert trio.current_time() - began >= autonat_server.DIAL_SECONDS
        await silent.aclose()


@pytest.mark.slow
@pytest.mark.usefixtures("short_dials")
async def test_an_asker_that_answers_but_takes_no_nonce_was_reached_and_not_told_so() -> None:
    async def ignore(_stream: Stream) -> None:
        await trio.sleep_forever()

    async with two_nodes() as (server, node), open_autonat_server(server):
        node.accept_streams(DIAL_BACK, ignore)
        stream = await node.open_stream(SERVER.peer_id, DIAL_REQUEST)
        await stream.write(encode(asking(place(node))))

        assert await receive(stream) == DialResponse(ResponseStatus.OK, 0, DialStatus.BACK_ERROR)


# ------------------------------------------------------------------ a server that lies


@asynccontextmanager
async def lying_server(
    lie: Callable[[Libp2pTransport, DialRequest], Awaitable[object]],
) -> AsyncIterator[tuple[AutonatClient, Address]]:
    """Answers each question with what `lie` gives."""
    async with AsyncExitStack() as stack:
        server, node = await stack.enter_async_context(two_nodes())

        async def accept(stream: Stream) -> None:
            request = await receive(stream)
            assert isinstance(request, DialRequest)
            answer = await lie(server, request)
            if isinstance(answer, DialResponse | DataWanted):
                await stream.write(encode(answer))
            await trio.sleep_forever()

        server.accept_streams(DIAL_REQUEST, accept)
        client = await stack.enter_async_context(open_autonat_client(node))
        yield client, place(node)


async def test_a_server_that_only_says_that_it_was_here_is_not_believed() -> None:
    async def lie(_server: Libp2pTransport, _request: DialRequest) -> DialResponse:
        return DialResponse(ResponseStatus.OK, 0, DialStatus.OK)

    async with lying_server(lie) as (client, address):
        assert await client.ask(SERVER.peer_id, address) is None


async def test_a_nonce_over_the_connection_that_we_asked_on_proves_nothing() -> None:
    async def lie(server: Libp2pTransport, request: DialRequest) -> DialResponse:
        stream = await server.open_stream(NODE.peer_id, DIAL_BACK)
        await stream.write(encode_dial_back(request.nonce))
        with pytest.raises(Unavailable):
            await stream.read(1)
        return DialResponse(ResponseStatus.OK, 0, DialStatus.OK)

    async with lying_server(lie) as (client, address):
        assert await client.ask(SERVER.peer_id, address) is None


async def test_a_nonce_that_we_never_gave_proves_nothing() -> None:
    async def lie(_server: Libp2pTransport, request: DialRequest) -> DialResponse:
        async with open_transport(THIRD) as another:
            await another.dial([addresses[0].of(NODE.peer_id)])
            stream = await another.open_stream(NODE.peer_id, DIAL_BACK)
            await stream.write(encode_dial_back(request.nonce ^ 1))
            with pytest.raises(Unavailable):
                await stream.read(1)
        return DialResponse(ResponseStatus.OK, 0, DialStatus.OK)

    addresses = list[Address]()
    async with lying_server(lie) as (client, address):
        addresses.append(address)
        assert await client.ask(SERVER.peer_id, address) is None


@pytest.mark.slow
async def test_a_nonce_that_comes_through_a_relay_of_ours_proves_nothing() -> None:
    refused = trio.Event()

    async def lie(stream: Stream) -> None:
        request = await receive(stream)
        assert isinstance(request, DialRequest)
        async with open_transport(THIRD, punches_holes=False) as another:
            await another.dial(node.addresses)
            bringing = await another.open_stream(node.peer_id, DIAL_BACK)
            await bringing.write(encode_dial_back(request.nonce))
            with pytest.raises(Unavailable):
                await bringing.read(1)
            refused.set()
        await stream.write(encode(DialResponse(ResponseStatus.OK, 0, DialStatus.OK)))

    with trio.fail_after(WITHIN_SECONDS):
        async with (
            open_relay() as (relay, _),
            open_private(relay) as node,
            open_transport(SERVER, listen=LOOPBACK) as server,
            open_autonat_client(node) as client,
        ):
            assert all("/p2p-circuit/" in address for address in node.addresses)
            server.accept_streams(DIAL_REQUEST, lie)
            await node.dial(server.addresses)

            assert await client.ask(SERVER.peer_id, ELSEWHERE) is None
            assert refused.is_set()


async def test_a_nonce_through_a_hole_that_we_opened_for_it_proves_nothing() -> None:
    refused = trio.Event()

    async def punch(another: Libp2pTransport, node: Libp2pTransport) -> None:
        """Connect them as after both have knocked: over a socket of the node's own."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, trio.open_nursery() as nursery:
            ours = await trio.open_tcp_stream(*listener.socket.getsockname())
            theirs = await listener.accept()
            nursery.start_soon(node.swarm.secure_taken, PunchedConnection(TrioTCPStream(ours), False))
            await another.swarm.connect_over(theirs, node.peer_id)

    async def lie(stream: Stream) -> None:
        request = await receive(stream)
        assert isinstance(request, DialRequest)
        async with open_transport(THIRD, punches_holes=False) as another:
            await punch(another, node)
            bringing = await another.open_stream(node.peer_id, DIAL_BACK)
            await bringing.write(encode_dial_back(request.nonce))
            with pytest.raises(Unavailable):
                await bringing.read(1)
            refused.set()
        await stream.write(encode(DialResponse(ResponseStatus.OK, 0, DialStatus.OK)))

    async with two_nodes() as (server, node), open_autonat_client(node) as client:
        server.accept_streams(DIAL_REQUEST, lie)

        assert await client.ask(SERVER.peer_id, ELSEWHERE) is None
        assert refused.is_set()


@pytest.mark.slow
async def test_who_asks_through_a_relay_is_dialled_nowhere() -> None:
    dialled = Dialled()
    with trio.fail_after(WITHIN_SECONDS):
        async with (
            open_relay() as (relay, _),
            open_private(relay) as server,
            open_transport(NODE, punches_holes=False) as node,
        ):
            server.accept_streams(DIAL_REQUEST, AutonatServer(server, dialled).accept)
            await node.dial(server.addresses)

            stream = await node.open_stream(server.peer_id, DIAL_REQUEST)
            await stream.write(encode(asking(Address("ip4", "127.0.0.1", 4001))))

            assert await receive(stream) == DialResponse(ResponseStatus.REFUSED)
            assert dialled.places == []


async def test_a_server_that_wants_more_than_a_dial_is_worth_gets_nothing() -> None:
    async def lie(_server: Libp2pTransport, _request: DialRequest) -> DataWanted:
        return DataWanted(0, 2**40)

    async with lying_server(lie) as (client, address):
        assert await client.ask(SERVER.peer_id, address) is None


@pytest.mark.parametrize(
    "answer",
    [
        DialResponse(ResponseStatus.REJECTED),
        DialResponse(ResponseStatus.REFUSED),
        DialResponse(ResponseStatus.INTERNAL_ERROR),
        DialResponse(ResponseStatus.OK, 0, DialStatus.BACK_ERROR),
    ],
)
async def test_who_could_not_say_has_said_nothing(answer: DialResponse) -> None:
    async def lie(_server: Libp2pTransport, _request: DialRequest) -> DialResponse:
        return answer

    async with lying_server(lie) as (client, address):
        assert await client.ask(SERVER.peer_id, address) is None


async def test_a_question_that_is_given_up_leaves_nothing_behind() -> None:
    async def lie(_server: Libp2pTransport, _request: DialRequest) -> None:
        await trio.sleep_forever()

    async with lying_server(lie) as (client, address):
        with trio.move_on_after(0.05):
            await client.ask(SERVER.peer_id, address)

        assert client._asked == {}  # pyright: ignore[reportPrivateUsage]  # what a leak would grow
