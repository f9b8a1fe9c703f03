"""The configuration: what contracts and clients can read in it."""

import pytest
from pytoniq_core import Cell as TheirCell
from pytoniq_core.tlb.config import ConfigParam

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import Builder, Cell, Slice
from cocoon_p2p.payments.devchain.augmap import References, Tree, put, whole
from cocoon_p2p.payments.devchain.config import FORWARD, GAS, LOCAL_GLOBAL_ID, Config, local_config

PARAMETERS = References(32)

# Hashes of parameters as mainnet had them late in 2025, under version 12 of the machine.
MAINNET = {
    8: "837b1bc2387535ed37b0cf4f3658fd42128bc2a4764f601d91153ac0b3b1c9ef",
    18: "2b1407976b4474a6d9a9ca94f1cc539a9becf631ed0d312ca3b81567bb61528a",
    20: "3806f08bd71c647291217e9d043a018e8a9826e1943975bc1e9c97b1c2333267",
    21: "96e8265be4acb92f35fec5b314d2780d989a2a982f8947c9de1046c6539b297e",
    24: "06fd19e4557ae5c0805f58bb62ffed63182f00411b0d8cad25e0546744d0393f",
    25: "cfe65353cf1ed21b1a3fcdb5a3f65a3da68e9c10c6c229afe02d793d30f3faf0",
}


def configuration(parameters: dict[int, Cell]) -> bytes:
    tree: Tree[Cell] | None = None
    for number, cell in parameters.items():
        tree = put(PARAMETERS, tree, number, cell)
    assert tree is not None
    return write_boc(whole(PARAMETERS, tree))


def test_it_is_small_and_the_same_every_time() -> None:
    assert local_config() == local_config()
    assert len(local_config()) < 1000


@pytest.mark.parametrize("number", MAINNET)
def test_prices_and_version_are_mainnets_to_the_bit(number: int) -> None:
    parameter = Config(local_config()).parameter(number)

    assert parameter is not None
    assert parameter.hash.hex() == MAINNET[number]


@pytest.mark.parametrize("number", [0, 1, 8, 12, 18, 20, 21, 24, 25, 31])
def test_another_library_reads_each_parameter(number: int) -> None:
    parameter = Config(local_config()).parameter(number)
    assert parameter is not None

    read = ConfigParam.params[number].deserialize(TheirCell.one_from_boc(write_boc(parameter)).begin_parse())

    assert read is not None
    if number == 21:
        assert (read.flat_gas_limit, read.flat_gas_price) == (GAS.flat_gas, GAS.flat)
        assert (read.other.gas_price, read.other.gas_limit) == (GAS.price << 16, GAS.limit)
    if number == 25:
        assert (read.lump_price, read.bit_price) == (FORWARD.lump, FORWARD.bit << 16)


def test_the_local_chains_id_is_none_of_the_public_networks() -> None:
    assert Config(local_config()).global_id == LOCAL_GLOBAL_ID
    assert LOCAL_GLOBAL_ID not in (-239, -3)
    assert Config(local_config(-77)).global_id == -77


def test_a_configuration_without_an_id_is_mainnets() -> None:
    config = Config(configuration({0: Builder().octets(bytes(32)).cell()}))

    assert config.global_id == -239
    assert config.storage_prices(1_800_000_000) is None


def test_the_storage_prices_in_force_are_the_newest_that_have_begun() -> None:
    def prices(since: int, bit: int) -> Builder:
        return Builder().uint(0xCC, 8).uint(since, 32).uint(bit, 64).uint(0, 3 * 64)

    class Prices(References):
        def write_value(self, builder: Builder, value: Cell, /) -> None:
            builder.root_of(value)

    layout = Prices(32)
    table: Tree[Cell] | None = None
    for number, (since, bit) in enumerate([(0, 1), (1000, 3), (500, 2)]):
        table = put(layout, table, number, prices(since, bit).cell())
    assert table is not None
    config = Config(configuration({18: whole(layout, table)}))

    found = [config.storage_prices(now) for now in (0, 499, 500, 999, 1000, 5000)]

    assert [cell and Slice(cell).uint(8 + 32 + 64) & 0xFF for cell in found] == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("data", [b"", write_boc(Builder().cell()), write_boc(Builder().uint(0, 20).cell())])
def test_what_is_no_configuration_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        Config(data)
