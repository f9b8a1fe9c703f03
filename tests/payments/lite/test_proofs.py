"""What a server shows is judged by hashes alone, and what cannot be is turned down."""

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pytoniq_core import Cell as TheirCell

from cocoon_p2p.errors import MalformedMessage, RemoteProtocolError
from cocoon_p2p.payments.boc import read_boc, write_boc
from cocoon_p2p.payments.cells import MERKLE_PROOF, MERKLE_UPDATE, Builder, Cell, merkle, stub
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import AccountId as LocalAccountId
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.devchain.answering import answer
from cocoon_p2p.payments.devchain.lite_queries import AccountName, GetAccountState, GetBlockHeader
from cocoon_p2p.payments.devchain.merkle import merkle_proof
from cocoon_p2p.payments.devchain.tl import encode
from cocoon_p2p.payments.lite import queries
from cocoon_p2p.payments.lite.accounts import read_account
from cocoon_p2p.payments.lite.proof_bags import read_proofs, read_trees, read_whole
from cocoon_p2p.payments.lite.proofs import prove_account, prove_header
from cocoon_p2p.payments.lite.queries import AccountAnswer, BlockId
from tests.payments.devchain.bait import NOW, STRANGER, deployed

PLACE = AccountId(STRANGER)


def shown(chain: DevChain, account: AccountId) -> tuple[AccountAnswer, BlockId]:
    """What an honest server shows of an account, after the last block."""
    last = chain.last.master.id
    told = answer(chain, GetAccountState(last, AccountName(0, account)))
    block = BlockId(last.workchain, last.shard, last.seqno, last.root_hash, last.file_hash)
    return queries.read_account(encode(told)), block


def peopled(accounts: int = 30) -> DevChain:
    chain = DevChain(now=NOW)
    for number in range(accounts):
        chain.give(LocalAccountId(sha256(bytes((number,))).digest()), 1000 + number)
    chain.give(STRANGER, 5)
    chain.make_block()
    return chain


def test_an_account_is_proven_and_so_is_that_there_is_none() -> None:
    chain = peopled()

    there = prove_account(*shown(chain, PLACE), PLACE)
    nobody = AccountId(bytes(32))
    not_there = prove_account(*shown(chain, nobody), nobody)

    assert (there.held.balance, there.last_lt > 0, there.header.utime) == (5, True, NOW)
    assert there.header.global_id == chain.global_id
    assert (not_there.held.balance, not_there.last_lt) == (0, 0)


def test_a_proof_for_one_account_is_none_for_another() -> None:
    chain = peopled()
    told, block = shown(chain, PLACE)

    for number in range(30):
        other = AccountId(sha256(bytes((number,))).digest())
        with pytest.raises(MalformedMessage):
            prove_account(told, block, other)


def test_a_proof_under_one_block_is_none_under_another() -> None:
    chain = peopled()
    told, before = shown(chain, PLACE)
    chain.give(STRANGER, 1)
    chain.make_block()
    _, after = shown(chain, PLACE)

    prove_account(told, before, PLACE)
    with pytest.raises(MalformedMessage):
        prove_account(told, after, PLACE)


def test_there_being_no_account_must_be_proven() -> None:
    chain = peopled()
    told, block = shown(chain, PLACE)
    nobody, _ = shown(chain, AccountId(bytes(32)))

    for lie in (
        replace(told, state=b""),
        replace(nobody, block=told.block),
        replace(nobody, state=told.state),
    ):
        with pytest.raises(MalformedMessage):
            prove_account(lie, block, PLACE)


def test_each_link_from_the_block_to_the_account_is_checked() -> None:
    chain, other = peopled(), DevChain(now=NOW)
    other.give(STRANGER, 10**15)
    other.make_block()
    told, block = shown(chain, PLACE)
    forged, _ = shown(other, PLACE)

    def grafted(true: bytes, false: bytes) -> bytes:
        return write_boc(read_boc(true)[0], read_boc(false)[1])

    lies = (
        replace(forged, shard_proof=grafted(told.shard_proof, forged.shard_proof)),
        replace(forged, shard_proof=told.shard_proof),
        replace(forged, shard_proof=told.shard_proof, shard_block=told.shard_block),
        replace(told, proof=grafted(told.proof, forged.proof), state=forged.state),
        replace(told, state=forged.state),
    )
    for lie in lies:
        with pytest.raises(MalformedMessage):
            prove_account(lie, block, PLACE)


def test_a_state_of_another_account_is_not_read_as_ones_own() -> None:
    told, _ = shown(peopled(), PLACE)
    (state,) = read_whole(told.state)

    assert read_account(state, PLACE).balance == 5
    with pytest.raises(MalformedMessage):
        read_account(state, AccountId(bytes(32)))


def test_a_state_with_a_part_left_out_is_none_although_its_hash_is_right() -> None:
    chain = DevChain(now=NOW)
    account = AccountId(deployed(chain))
    chain.make_block()
    told, block = shown(chain, account)
    (root,) = read_boc(told.state)
    hollow = Cell(root.bits, root.data, [stub(one.hash, one.depth) for one in root.references])
    assert hollow.hash == root.hash

    with pytest.raises(MalformedMessage, match="left out"):
        prove_account(replace(told, state=write_boc(hollow)), block, account)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_change_of_a_proof_tells_another_account(data: st.DataObject) -> None:
    chain = peopled(4)
    told, block = shown(chain, PLACE)
    honest = prove_account(told, block, PLACE)
    part = data.draw(st.sampled_from(["shard_proof", "proof", "state"]))
    changed = bytearray(getattr(told, part))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))

    try:
        proven = prove_account(replace(told, **{part: bytes(changed)}), block, PLACE)
    except RemoteProtocolError:
        return
    assert proven == honest


@given(st.binary(max_size=300))
@example(b"\xb5\xee\x9c\x72" + bytes(20))
def test_noise_proves_nothing(noise: bytes) -> None:
    block = BlockId(-1, queries.WHOLE_SHARD, 0, bytes(32), bytes(32))

    with pytest.raises(MalformedMessage):
        prove_header(noise, block)
    for read in (read_trees, read_whole):
        try:
            read(noise)
        except MalformedMessage:
            continue


def test_a_header_says_what_the_block_says() -> None:
    chain = peopled()
    chain.now += 77
    last = chain.make_block().master.id
    told = queries.read_header(encode(answer(chain, GetBlockHeader(last, 0))))

    header = prove_header(told.proof, told.block)

    assert (header.global_id, header.utime) == (chain.global_id, NOW + 77)
    for wrong in (
        replace(told.block, seqno=told.block.seqno + 1),
        replace(told.block, workchain=0),
        replace(told.block, root_hash=bytes(32)),
    ):
        with pytest.raises(MalformedMessage):
            prove_header(told.proof, wrong)


# ---------------------------------------------------------------- branches at several levels


def branch(mask: int, *names: tuple[bytes, int]) -> Cell:
    """Write a pruned branch as it stands in a bag: nothing about it is reckoned."""
    data = bytes((1, mask)) + b"".join(hash_ for hash_, _ in names)
    data += b"".join(depth.to_bytes(2, "big") for _, depth in names)
    cell = Cell.__new__(Cell)
    cell.bits, cell.data, cell.references, cell.kind = 8 * len(data), data, (), 1
    cell.level_mask, cell.hash, cell.depth, cell.standing = mask, names[0][0], names[0][1], names[-1]
    return cell


@st.composite
def trees(draw: st.DrawFn, depth: int = 4) -> Cell:
    """Trees with branches pruned at one to three levels, and Merkle cells among them."""
    if not depth or draw(st.integers(0, 3)) == 0:
        if draw(st.booleans()):
            return Builder().uint(draw(st.integers(0, 255)), 8).cell()
        # The other library cannot reckon 6.
        mask = draw(st.sampled_from([1, 2, 3, 4, 5, 7]))
        names = [
            (draw(st.binary(min_size=32, max_size=32)), draw(st.integers(0, 100)))
            for _ in range(mask.bit_count())
        ]
        return branch(mask, *names)
    builder = Builder().uint(draw(st.integers(0, 15)), 4)
    for _ in range(draw(st.integers(1, 3))):
        builder.reference(draw(trees(depth=depth - 1)))
    return builder.cell()


def raw_bag(cell: Cell) -> bytes:
    """Write a tree, each cell as often as it is there."""
    cells: list[tuple[Cell, list[int]]] = []

    def add(one: Cell) -> int:
        number = len(cells)
        places: list[int] = []
        cells.append((one, places))
        places += [add(child) for child in one.references]
        return number

    add(cell)
    body = b"".join(
        one.descriptors + one.data + b"".join(place.to_bytes(2, "big") for place in places)
        for one, places in cells
    )
    count = len(cells).to_bytes(2, "big")
    head = b"\xb5\xee\x9c\x72" + bytes((2, 3)) + count + bytes((0, 1)) + bytes(2)
    return head + len(body).to_bytes(3, "big") + bytes(2) + body


@pytest.mark.slow
@given(trees())
@settings(max_examples=200, deadline=None)
def test_hashes_of_pruned_trees_are_those_that_another_library_reckons(tree: Cell) -> None:
    bag = raw_bag(Builder().reference(tree).cell())

    (ours,) = read_trees(bag)

    assert ours.hash == TheirCell.one_from_boc(bag).get_hash(0)
    # A Merkle cell's hash is of its child's next level.
    data = bytes((MERKLE_PROOF,)) + ours.hash + ours.depth.to_bytes(2, "big")
    proof = raw_bag(Cell(8 * len(data), data, (Builder().reference(tree).cell(),), MERKLE_PROOF))
    assert read_trees(proof)[0].hash == TheirCell.one_from_boc(proof).get_hash(0)


def update(old: Cell, new: Cell) -> Cell:
    """What a validator writes into a block, as a lite server prunes it: at two levels."""
    pruned = (
        branch(3, (one.hash, one.depth), (sha256(b"with its own branches" + one.hash).digest(), 0))
        for one in (old, new)
    )
    return merkle(MERKLE_UPDATE, tuple(pruned))


def test_an_update_that_is_pruned_at_two_levels_is_read() -> None:
    old, new = Builder().uint(1, 8).cell(), Builder().uint(2, 8).cell()
    block = Builder().reference(update(old, new)).cell()

    (read,) = read_proofs(raw_bag(merkle_proof(block)), 1)

    assert read.hash == block.hash == TheirCell.one_from_boc(raw_bag(block)).get_hash(0)
    assert read.references[0].references[1].hash == new.hash


def test_a_state_that_an_update_does_not_lead_to_is_found_out_although_the_blocks_hash_is_right() -> None:
    old, new, forged = (Builder().uint(number, 8).cell() for number in (1, 2, 3))
    honest = update(old, new)
    children = honest.references
    # Only what the branch says of its level 0 is changed, which the update's hash does not cover.
    lie = branch(3, (forged.hash, forged.depth), (children[1].data[34:66], 0))
    lying = Cell(honest.bits, honest.data, (children[0], lie), MERKLE_UPDATE)
    lying.hash, lying.depth, lying.level_mask = honest.hash, honest.depth, honest.level_mask
    block = Builder().reference(lying).cell()
    assert TheirCell.one_from_boc(raw_bag(block)).get_hash(0) == Builder().reference(honest).cell().hash

    with pytest.raises(MalformedMessage, match="does not fit"):
        read_proofs(raw_bag(merkle_proof(block)), 1)


def test_a_bag_that_repeats_itself_is_read_in_one_go() -> None:
    cell = Builder().uint(1, 8).cell()
    for _ in range(500):
        cell = Builder().reference(cell).reference(cell).reference(cell).reference(cell).cell()

    (read,) = read_whole(write_boc(cell))

    assert read.hash == cell.hash


def altered(cell: Cell, head: bytes) -> Cell:
    cell.data = head + cell.data[len(head) :]
    return cell


@pytest.mark.parametrize(
    "tree",
    [
        branch(0, (bytes(32), 0)),
        altered(branch(1, (bytes(32), 0)), b"\x01\x08"),
        branch(3, (bytes(32), 0)),
        branch(1, (bytes(32), 0), (bytes(32), 0)),
        branch(1, (bytes(32), 1024)),
    ],
    ids=["no level", "level four", "a level too few", "a level too many", "too deep"],
)
def test_branches_that_cannot_be_are_turned_down(tree: Cell) -> None:
    with pytest.raises(MalformedMessage):
        read_trees(raw_bag(Builder().reference(tree).cell()))


# ---------------------------------------------------------------- a basechain that is split


def split(chain: DevChain, told: AccountAnswer) -> tuple[AccountAnswer, BlockId]:
    """Make a masterchain block above two shards: the chain's own as the lower half, and another."""
    pair = chain.last
    block, state = pair.master.root, pair.master.state
    extra = state.references[-1]
    shards = extra.references[0]
    leaf = Builder().uint(0, 1).uint(0xB, 4).uint(9, 32).uint(0, 160)
    other = leaf.octets(b"r" * 32).octets(b"f" * 32).cell()
    fork = Builder().uint(1, 1).reference(shards.references[0]).reference(other).cell()
    new_extra = rewired(extra, 0, Cell(shards.bits, shards.data, (fork,)))
    new_state = rewired(state, len(state.references) - 1, new_extra)
    leading = merkle(MERKLE_UPDATE, (stub(bytes(32), 0), stub(new_state.hash, new_state.depth)))
    new_block = rewired(block, 2, leading)
    last = pair.master.id
    name = BlockId(last.workchain, last.shard, last.seqno, new_block.hash, last.file_hash)
    proof = write_boc(merkle_proof(new_block), merkle_proof(new_state))
    lower_half = replace(told.shard_block, shard=0x4000000000000000)
    return replace(told, shard_proof=proof, shard_block=lower_half), name


def rewired(cell: Cell, place: int, child: Cell) -> Cell:
    references = list(cell.references)
    references[place] = child
    return Cell(cell.bits, cell.data, references, cell.kind)


LOW, HIGH = AccountId(b"\x7f" + bytes(31)), AccountId(b"\x80" + bytes(31))


def test_an_account_is_looked_for_in_the_shard_that_has_it() -> None:
    chain = DevChain(now=NOW)
    chain.give(LocalAccountId(LOW), 5)
    chain.make_block()
    told, _ = shown(chain, LOW)

    proven = prove_account(*split(chain, told), LOW)

    assert proven.held.balance == 5


def test_that_another_shard_has_no_such_account_proves_nothing() -> None:
    chain = DevChain(now=NOW)
    chain.make_block()
    told, _ = shown(chain, HIGH)
    assert prove_account(*split(chain, shown(chain, LOW)[0]), LOW).last_lt == 0

    with pytest.raises(MalformedMessage, match="another shard"):
        prove_account(*split(chain, told), HIGH)
