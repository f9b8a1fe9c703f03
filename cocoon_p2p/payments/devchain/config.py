"""The local chain's configuration: mainnet's rules and prices, without mainnet's validators.

Mainnet's own configuration is some 115 kB, nearly all of it validators' keys and voting
records, which a chain without validators has no use for. What a transaction can notice is
written out here instead, so that the prices are in plain sight. Values: mainnet, 2025.

Spec: block.tlb, `ConfigParam 0` to `ConfigParam 43`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cocoon_p2p.payments.boc import read_one, write_boc
from cocoon_p2p.payments.cells import Builder, Cell, Slice
from cocoon_p2p.payments.devchain.augmap import References, Tree, put, read_plain, whole

LOCAL_GLOBAL_ID = int.from_bytes(b"coco", "big")
"The network's id, signed by wallets and by our channels. Not mainnet's (-239), nor the testnet's (-3)."

_CONFIG_ADDRESS, _ELECTOR_ADDRESS = b"\x55" * 32, b"\x33" * 32

_VERSION = 12
_CAPABILITIES = 0x1EE

_ONE = 1 << 16
"Prices of gas and of forwarding are in 1/65536 nanoTON."


@dataclass(frozen=True, slots=True)
class StoragePrices:
    """What keeping a bit or a cell for 65,536 seconds costs, in nanoTON."""

    bit: int
    cell: int
    masterchain_bit: int
    masterchain_cell: int


@dataclass(frozen=True, slots=True)
class GasPrices:
    """What running a contract costs: `flat` nanoTON for the first `flat_gas`, then `price` a unit."""

    price: int
    limit: int
    special_limit: int
    flat: int
    flat_gas: int = 100
    credit: int = 10_000
    "What an external message may burn before the contract accepts it."

    block_limit: int = 10_000_000
    freeze_due: int = 100_000_000
    delete_due: int = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ForwardPrices:
    """What sending a message costs: `lump` nanoTON, and for what hangs below its root `bit` and `cell`."""

    lump: int
    bit: int
    cell: int
    instant_factor: int = 98_304
    first_fraction: int = 21_845
    "The sender's validators' part, in 1/65536: a third. The rest goes to the receiver's."


STORAGE = StoragePrices(bit=1, cell=500, masterchain_bit=1_000, masterchain_cell=500_000)
GAS = GasPrices(price=400, limit=1_000_000, special_limit=1_000_000, flat=40_000)
MASTERCHAIN_GAS = GasPrices(
    price=10_000, limit=1_000_000, special_limit=70_000_000, flat=1_000_000, block_limit=2_500_000
)
FORWARD = ForwardPrices(lump=400_000, bit=400, cell=40_000)
MASTERCHAIN_FORWARD = ForwardPrices(lump=10_000_000, bit=10_000, cell=1_000_000)

_PARAMETER_BITS = 32
_PARAMETERS = References(_PARAMETER_BITS)


def local_config(global_id: int = LOCAL_GLOBAL_ID) -> bytes:
    """Write the configuration of a chain with this id, as a bag of cells."""
    tree: Tree[Cell] | None = None
    for number, parameter in _parameters(global_id):
        tree = put(_PARAMETERS, tree, number, parameter)
    assert tree is not None
    return write_boc(whole(_PARAMETERS, tree))


def _parameters(global_id: int) -> Iterable[tuple[int, Cell]]:
    yield 0, Builder().octets(_CONFIG_ADDRESS).cell()
    yield 1, Builder().octets(_ELECTOR_ADDRESS).cell()
    yield 8, Builder().uint(0xC4, 8).uint(_VERSION, 32).uint(_CAPABILITIES, 64).cell()
    yield 12, Builder().maybe_reference(_workchains()).cell()
    yield 18, _storage_prices(STORAGE)
    yield 19, Builder().sint(global_id, 32).cell()
    yield 20, _gas_prices(MASTERCHAIN_GAS)
    yield 21, _gas_prices(GAS)
    yield 24, _forward_prices(MASTERCHAIN_FORWARD)
    yield 25, _forward_prices(FORWARD)
    # No account is exempt from gas limits.
    yield 31, Builder().uint(0, 1).cell()


def _workchains() -> Cell:
    """One workchain, number 0, never split into shards."""
    description = (
        Builder()
        .uint(0xA6, 8)
        .uint(0, 32)  # Enabled since.
        .uint(0, 3 * 8)  # Shards: how many monitored, least split, most split.
        .uint(1, 1)  # Basic,
        .uint(1, 1)  # active,
        .uint(1, 1)  # accepting messages.
        .uint(0, 13)
        .uint(0, 2 * 256)  # The zero state's two hashes: there is none.
        .uint(0, 32)  # Version.
        .uint(1, 4)  # Addresses of 256 bits run on
        .sint(-1, 32)  # the TVM,
        .uint(0, 64)  # in its only mode.
    )
    return _single(0, description)


def _storage_prices(prices: StoragePrices) -> Cell:
    amounts = (prices.bit, prices.cell, prices.masterchain_bit, prices.masterchain_cell)
    value = Builder().uint(0xCC, 8).uint(0, 32)
    for amount in amounts:
        value.uint(amount, 64)
    return _single(0, value)


def _single(key: int, value: Builder) -> Cell:
    """A `Hashmap 32` of one entry, its value in the leaf itself."""
    # The label is the whole key, and here it is all zeros: `hml_same`.
    assert key == 0
    return Builder().uint(0b11, 2).uint(0, 1).uint(32, 6).root_of(value.cell()).cell()


def _gas_prices(prices: GasPrices) -> Cell:
    return (
        Builder()
        .uint(0xD1, 8)
        .uint(prices.flat_gas, 64)
        .uint(prices.flat, 64)
        .uint(0xDE, 8)
        .uint(prices.price * _ONE, 64)
        .uint(prices.limit, 64)
        .uint(prices.special_limit, 64)
        .uint(prices.credit, 64)
        .uint(prices.block_limit, 64)
        .uint(prices.freeze_due, 64)
        .uint(prices.delete_due, 64)
        .cell()
    )


def _forward_prices(prices: ForwardPrices) -> Cell:
    return (
        Builder()
        .uint(0xEA, 8)
        .uint(prices.lump, 64)
        .uint(prices.bit * _ONE, 64)
        .uint(prices.cell * _ONE, 64)
        .uint(prices.instant_factor, 32)
        .uint(prices.first_fraction, 16)
        .uint(prices.first_fraction, 16)
        .cell()
    )


class Config:
    """A configuration as it is read: its parameters, and the slices of them that the machine is handed.

    Raises:
        MalformedMessage: The bytes are no configuration.
    """

    def __init__(self, boc: bytes) -> None:
        self.boc = boc
        self.root = read_one(boc)
        self._parameters = {
            number: value.reference() for number, value in read_plain(self.root, _PARAMETER_BITS).items()
        }
        self._storage_prices = self._read_storage_prices()

    def parameter(self, number: int) -> Cell | None:
        return self._parameters.get(number & 0xFFFFFFFF)

    @property
    def global_id(self) -> int:
        """The network's id; mainnet's where the configuration names none."""
        parameter = self.parameter(19)
        return -239 if parameter is None else Slice(parameter).sint(32)

    def storage_prices(self, now: int) -> Cell | None:
        """Give the newest `StoragePrices` that are in force."""
        known = [(since, prices) for since, prices in self._storage_prices if since <= now]
        return max(known, key=lambda pair: pair[0])[1] if known else None

    def _read_storage_prices(self) -> list[tuple[int, Cell]]:
        parameter = self.parameter(18)
        if parameter is None:
            return []
        found: list[tuple[int, Cell]] = []
        for value in read_plain(parameter, 32).values():
            tag, since = value.uint(8), value.uint(32)
            rest = Builder().uint(tag, 8).uint(since, 32).uint(value.uint(4 * 64), 4 * 64)
            found.append((since, rest.cell()))
        return found
