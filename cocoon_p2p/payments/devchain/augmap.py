"""TON's dictionaries as persistent trees: an update copies the path to one leaf and shares the rest.

A `HashmapAug` is a binary tree over fixed-width keys in which every fork carries the sum of
what its leaves weigh (money, here). A block's dictionary differs from the last one's by a few
paths, so keeping old ones costs little and hashing a new one touches only what changed. A
node is hashed when its hash is first asked for: however many updates come between two blocks,
each node is hashed once. No cells are kept, only their hashes; a proof makes the few it shows.

    keys 0101, 0110         label 01
                            /      \
                      label 1      label 0

A plain `Hashmap` is the same with nothing to weigh. None is the empty dictionary.

Spec: block.tlb, `hm_edge`, `hml_short`, `hml_long`, `hml_same`, `ahm_edge`, `ahmn_fork`.
"""

from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeAlias, TypeVar

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.cells import Builder, Cell, Slice, stub

V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)


class Layout(Protocol[V_contra]):
    """How one kind of dictionary is written."""

    @property
    def key_bits(self) -> int: ...
    def weight(self, value: V_contra, /) -> int:
        """What a leaf adds to the sum of every fork above it."""
        ...

    def write_weight(self, builder: Builder, weight: int, /) -> None: ...
    def write_value(self, builder: Builder, value: V_contra, /) -> None: ...


class Leaf(Generic[V]):
    __slots__ = ("depth", "hash", "key_bits", "label", "label_bits", "value", "weight")

    weight: int

    def __init__(self, layout: Layout[V], label: int, key_bits: int, value: V) -> None:
        self.label = label
        self.label_bits = self.key_bits = key_bits
        self.value = value
        self.weight = layout.weight(value)
        self.hash = b""
        self.depth = 0


class Fork(Generic[V]):
    __slots__ = ("depth", "hash", "key_bits", "label", "label_bits", "left", "right", "weight")

    key_bits: int
    "The width of what is left of a key when it arrives here, this node's label included."

    weight: int

    def __init__(self, label: int, label_bits: int, key_bits: int, left: "Tree[V]", right: "Tree[V]") -> None:
        self.label = label
        self.label_bits = label_bits
        self.key_bits = key_bits
        self.left = left
        self.right = right
        self.weight = left.weight + right.weight
        # Of its cell, once they are asked for.
        self.hash = b""
        self.depth = 0


Tree: TypeAlias = Leaf[V] | Fork[V]


def total_weight(tree: Tree[V] | None) -> int:
    return 0 if tree is None else tree.weight


def pruned(layout: Layout[V], tree: Tree[V]) -> Cell:
    """Give a dictionary's root as a pruned branch: its hash, and nothing inside."""
    if not tree.hash:
        cell = shallow(layout, tree)
        tree.hash, tree.depth = cell.hash, cell.depth
    return stub(tree.hash, tree.depth)


def pruned_or_none(layout: Layout[V], tree: Tree[V] | None) -> Cell | None:
    return None if tree is None else pruned(layout, tree)


def shallow(layout: Layout[V], tree: Tree[V]) -> Cell:
    """Give a dictionary's root with what is right under it pruned."""
    if isinstance(tree, Leaf):
        return _leaf_cell(layout, tree)
    return _fork_cell(layout, tree, pruned(layout, tree.left), pruned(layout, tree.right))


def shown(layout: Layout[V], tree: Tree[V], keys: Iterable[int]) -> Cell:
    """Give a dictionary's root with the paths to some keys, or to where they would be; the rest is pruned."""
    if isinstance(tree, Leaf):
        return _leaf_cell(layout, tree)
    rest, mask = tree.key_bits - tree.label_bits, (1 << tree.label_bits) - 1
    here = [key for key in keys if key >> rest & mask == tree.label]
    left, right = (
        shown(layout, child, wanted) if wanted else pruned(layout, child)
        for child, wanted in (
            (tree.left, [key for key in here if not key >> rest - 1 & 1]),
            (tree.right, [key for key in here if key >> rest - 1 & 1]),
        )
    )
    return _fork_cell(layout, tree, left, right)


def whole(layout: Layout[V], tree: Tree[V]) -> Cell:
    """Give a dictionary's root with all that is under it."""
    if isinstance(tree, Leaf):
        return _leaf_cell(layout, tree)
    return _fork_cell(layout, tree, whole(layout, tree.left), whole(layout, tree.right))


def _leaf_cell(layout: Layout[V], leaf: Leaf[V]) -> Cell:
    builder = write_label(Builder(), leaf.label, leaf.label_bits, leaf.key_bits)
    layout.write_weight(builder, leaf.weight)
    layout.write_value(builder, leaf.value)
    return builder.cell()


def _fork_cell(layout: Layout[V], fork: Fork[V], left: Cell, right: Cell) -> Cell:
    builder = write_label(Builder(), fork.label, fork.label_bits, fork.key_bits)
    layout.write_weight(builder.reference(left).reference(right), fork.weight)
    return builder.cell()


def write_label(builder: Builder, label: int, bits: int, key_bits: int) -> Builder:
    """Write an edge's label in the shortest of the three forms, as validators demand."""
    size = key_bits.bit_length()
    short, long, same = 2 * bits + 2, size + bits + 2, size + 3
    is_uniform = label in (0, (1 << bits) - 1)
    if bits and is_uniform and same < min(short, long):
        return builder.uint(0b11, 2).uint(label & 1, 1).uint(bits, size)
    if short <= long:
        # A zero; the length in unary, as many ones and a zero; the label.
        return builder.uint((1 << bits) - 1 << bits + 1 | label, short)
    return builder.uint(0b10, 2).uint(bits, size).uint(label, bits)


def put(layout: Layout[V], tree: Tree[V] | None, key: int, value: V) -> Tree[V]:
    """Give the dictionary with `value` under `key`; the old one stays as it is."""
    return _put(layout, tree, key, layout.key_bits, value)


def _put(layout: Layout[V], node: Tree[V] | None, key: int, key_bits: int, value: V) -> Tree[V]:
    if node is None:
        return Leaf(layout, key, key_bits, value)
    rest = key_bits - node.label_bits
    differing = (key >> rest ^ node.label).bit_length()
    if differing:
        return _split(layout, node, key, key_bits, value, differing)
    if isinstance(node, Leaf):
        return Leaf(layout, key, key_bits, value)
    below = key & (1 << rest - 1) - 1
    if key >> rest - 1 & 1:
        left, right = node.left, _put(layout, node.right, below, rest - 1, value)
    else:
        left, right = _put(layout, node.left, below, rest - 1, value), node.right
    return Fork(node.label, node.label_bits, key_bits, left, right)


def _split(layout: Layout[V], node: Tree[V], key: int, key_bits: int, value: V, differing: int) -> Tree[V]:
    """Fork a label in two: the key leaves it `differing` bits before its end."""
    common = node.label_bits - differing
    rest = key_bits - common - 1
    label = node.label & (1 << differing - 1) - 1
    old: Tree[V]
    if isinstance(node, Leaf):
        old = Leaf(layout, label, rest, node.value)
    else:
        old = Fork(label, differing - 1, rest, node.left, node.right)
    new = Leaf(layout, key & (1 << rest) - 1, rest, value)
    left, right = (old, new) if key >> rest & 1 else (new, old)
    return Fork(node.label >> differing, common, key_bits, left, right)


def drop(layout: Layout[V], tree: Tree[V] | None, key: int) -> Tree[V] | None:
    """Give the dictionary without `key`. The very same tree comes back if it was not there."""
    return None if tree is None else _drop(layout, tree, key, layout.key_bits)


def _drop(layout: Layout[V], node: Tree[V], key: int, key_bits: int) -> Tree[V] | None:
    rest = key_bits - node.label_bits
    if key >> rest != node.label:
        return node
    if isinstance(node, Leaf):
        return None
    side = key >> rest - 1 & 1
    child, other = (node.right, node.left) if side else (node.left, node.right)
    kept = _drop(layout, child, key & (1 << rest - 1) - 1, rest - 1)
    if kept is child:
        return node
    if kept is None:
        return _joined(layout, node, other, 1 - side)
    left, right = (other, kept) if side else (kept, other)
    return Fork(node.label, node.label_bits, key_bits, left, right)


def _joined(layout: Layout[V], fork: Fork[V], child: Tree[V], side: int) -> Tree[V]:
    """Pull a fork's only child up into the fork's place, its labels joined."""
    label = (fork.label << 1 | side) << child.label_bits | child.label
    if isinstance(child, Leaf):
        return Leaf(layout, label, fork.key_bits, child.value)
    bits = fork.label_bits + 1 + child.label_bits
    return Fork(label, bits, fork.key_bits, child.left, child.right)


def find(tree: Tree[V] | None, key: int) -> V | None:
    """Give the value under `key`, or None."""
    node = tree
    while node is not None:
        rest = node.key_bits - node.label_bits
        if (key >> rest) & (1 << node.label_bits) - 1 != node.label:
            return None
        if isinstance(node, Leaf):
            return node.value
        node = node.right if key >> rest - 1 & 1 else node.left
    return None


def items(tree: Tree[V] | None, prefix: int = 0) -> Iterator[tuple[int, V]]:
    """Give all keys and values, in the keys' order."""
    if tree is None:
        return
    prefix = prefix << tree.label_bits | tree.label
    if isinstance(tree, Leaf):
        yield prefix, tree.value
    else:
        yield from items(tree.left, prefix << 1)
        yield from items(tree.right, prefix << 1 | 1)


class References:
    """A plain dictionary whose values are references to cells (`Hashmap n ^Cell`)."""

    def __init__(self, key_bits: int) -> None:
        self.key_bits = key_bits

    def weight(self, value: Cell, /) -> int:
        return 0

    def write_weight(self, builder: Builder, weight: int, /) -> None:
        """A plain dictionary has none."""

    def write_value(self, builder: Builder, value: Cell, /) -> None:
        builder.reference(value)


def read_plain(cell: Cell, key_bits: int) -> dict[int, Slice]:
    """Read a `Hashmap`: each key with what follows it in its leaf.

    Raises:
        MalformedMessage: A label is longer than the key, or a cell ends too early.
    """
    found: dict[int, Slice] = {}
    waiting = [(cell, 0, key_bits)]
    while waiting:
        node, prefix, bits = waiting.pop()
        reader = Slice(node)
        label, label_bits = read_label(reader, bits)
        prefix, rest = prefix << label_bits | label, bits - label_bits
        if rest:
            left, right = reader.reference(), reader.reference()
            waiting += [(right, prefix << 1 | 1, rest - 1), (left, prefix << 1, rest - 1)]
        else:
            found[prefix] = reader
    return found


def read_label(reader: Slice, key_bits: int) -> tuple[int, int]:
    """Read an edge's label and its length, where `key_bits` are left of the key."""
    if not reader.uint(1):
        bits = 0
        while reader.uint(1):
            bits += 1
        label = reader.uint(bits)
    else:
        is_uniform = reader.uint(1)
        bit = reader.uint(1) if is_uniform else 0
        bits = reader.uint(key_bits.bit_length())
        label = (bit << bits) - bit if is_uniform else reader.uint(bits)
    if bits > key_bits:
        raise MalformedMessage(f"a dictionary's label is longer than its key (label={bits} left={key_bits})")
    return label, bits
