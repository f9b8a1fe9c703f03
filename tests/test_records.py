from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import LocalProtocolError, MalformedMessage, RecordRejected
from cocoon_p2p.identity import Identity, NetworkId, network_id, peer_id_text
from cocoon_p2p.protocols.framing import frame
from cocoon_p2p.protocols.ids import (
    CLOCK_SKEW_SECONDS,
    FRAME_SIZE_MAX_NEWCOMER_BYTES,
    PROXY_SHARDS,
    RECORD_BODY_MAX_BYTES,
    RECORD_LIFETIME_MAX_SECONDS,
    RECORD_SIZE_MAX_BYTES,
    STATEMENT_LIFETIME_MAX_SECONDS,
    Kind,
    Role,
)
from cocoon_p2p.protocols.messages import KeyStatement, ModelOffer, Price, Rates, Record, Register, Signed
from cocoon_p2p.protocols.papers import encode_signed, paper_hash, sign
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.records import (
    NOTHING_MEASURED,
    check_pair,
    check_record,
    check_statement,
    dht_key,
    is_newer,
    make_record,
    make_statement,
    select_newest,
    shard_key_of,
    shard_keys,
    validate_dht,
)

NAME = "mainnet"
MAIN, DEMO = network_id(NAME), network_id("demo")
ALICE, BOB = Identity.from_seed(b"a" * 32), Identity.from_seed(b"b" * 32)
NOW = 1_700_000_000.75
OFFER = ModelOffer("m", bytes(32), bytes(32), Kind.CHAT, 4096, (), Price(4, 1, 20, 20), False)
ADDRESS = "/ip4/192.0.2.1/tcp/4001"


def statement(identity: Identity = ALICE, network: NetworkId = MAIN, **changes: Any) -> Signed:
    made = {"role": Role.PROXY, "sealing_key": b"s" * 32, "now": NOW, "nonce": bytes(16), **changes}
    return make_statement(identity, network, **made)


def record(identity: Identity = ALICE, network: NetworkId = MAIN, **changes: Any) -> Signed:
    made = {
        "role": Role.PROXY,
        "statement": statement(),
        "addresses": [ADDRESS],
        "models": [OFFER],
        "now": NOW,
        "sequence": 1,
        **changes,
    }
    return make_record(identity, network, **made)


def forged(signed: Signed, cls: type, identity: Identity = ALICE, **changes: Any) -> Signed:
    """Sign a paper again with fields that the makers refuse."""
    return sign(identity, MAIN, replace(decode_paper(cls, signed.body), **changes))


# ---------------------------------------------------------------- statements


def test_a_statement_says_what_its_maker_said_and_lives_a_day() -> None:
    checked = check_statement(statement(), network=MAIN, now=NOW, role=Role.PROXY)

    assert checked == KeyStatement(
        network=MAIN,
        role=Role.PROXY,
        identity_key=ALICE.public_key,
        sealing_key=b"s" * 32,
        not_before=1_700_000_000,
        expires=1_700_086_400,
        nonce=bytes(16),
        configuration_hash=NOTHING_MEASURED,
    )


def test_a_statement_of_another_role_or_network_is_refused() -> None:
    with pytest.raises(RecordRejected, match=r"statement: another role \(got=proxy expected=worker\)"):
        check_statement(statement(), network=MAIN, now=NOW, role=Role.WORKER)
    with pytest.raises(RecordRejected, match="the signature does not fit"):
        check_statement(statement(), network=DEMO, now=NOW)


def test_a_statement_signed_by_another_than_its_key_is_refused() -> None:
    with pytest.raises(RecordRejected, match="the signature does not fit"):
        check_statement(forged(statement(), KeyStatement, BOB), network=MAIN, now=NOW)


# ---------------------------------------------------------------- dates, of both

MADE = pytest.mark.parametrize(
    ("check", "made", "cls", "begins", "lifetime_max_seconds"),
    [
        (check_statement, statement(), KeyStatement, "not_before", STATEMENT_LIFETIME_MAX_SECONDS),
        (check_record, record(), Record, "issued", RECORD_LIFETIME_MAX_SECONDS),
    ],
    ids=["statement", "record"],
)


@MADE
def test_a_paper_holds_from_a_minute_before_its_date_until_it_expires(
    check: Any, made: Signed, cls: type, begins: str, lifetime_max_seconds: int
) -> None:
    begun = int(NOW)

    check(made, network=MAIN, now=begun - CLOCK_SKEW_SECONDS)
    check(made, network=MAIN, now=begun + lifetime_max_seconds - 0.01)
    with pytest.raises(RecordRejected, match=r"from the future \(by=61 seconds\)"):
        check(made, network=MAIN, now=begun - CLOCK_SKEW_SECONDS - 1)
    with pytest.raises(RecordRejected, match=r"expired \(by=0 seconds\)"):
        check(made, network=MAIN, now=begun + lifetime_max_seconds)


@MADE
@pytest.mark.parametrize("lifetime", [0, -1, "max + 1"])
def test_a_paper_that_lives_too_long_or_not_at_all_is_neither_made_nor_taken(
    check: Any, made: Signed, cls: type, begins: str, lifetime_max_seconds: int, lifetime: Any
) -> None:
    seconds = lifetime_max_seconds + 1 if lifetime == "max + 1" else lifetime
    dates: dict[str, Any] = {begins: 1_700_000_000, "expires": 1_700_000_000 + seconds}
    lie = forged(made, cls, **dates)

    with pytest.raises(
        RecordRejected, match=f"lifetime out of range .got={seconds} max={lifetime_max_seconds} "
    ):
        check(lie, network=MAIN, now=NOW)
    with pytest.raises(LocalProtocolError, match=f"lifetime out of range .got={seconds} "):
        (statement if cls is KeyStatement else record)(lifetime_seconds=seconds)


@MADE
@given(body=st.binary(max_size=300), signature=st.binary(min_size=64, max_size=64))
def test_random_bytes_are_no_paper(
    check: Any,
    made: Signed,
    cls: type,
    begins: str,
    lifetime_max_seconds: int,
    body: bytes,
    signature: bytes,
) -> None:
    with pytest.raises((RecordRejected, MalformedMessage)):
        check(Signed(body, signature), network=MAIN, now=NOW)


# ---------------------------------------------------------------- records


def test_a_record_says_what_its_maker_said_and_lives_an_hour() -> None:
    made = record(commission_basis_points=250, evidence_hash=b"e" * 32, catalogue_hash=b"c" * 32, sequence=9)

    checked = check_record(made, network=MAIN, now=NOW, role=Role.PROXY, peer=ALICE.peer_id)

    assert checked == Record(
        network=MAIN,
        peer=ALICE.peer_id,
        role=Role.PROXY,
        statement_hash=paper_hash(statement()),
        addresses=(ADDRESS,),
        models=(OFFER,),
        issued=1_700_000_000,
        expires=1_700_003_600,
        sequence=9,
        commission_basis_points=250,
        evidence_hash=b"e" * 32,
        catalogue_hash=b"c" * 32,
    )


def test_a_record_of_another_role_network_or_peer_is_refused() -> None:
    with pytest.raises(RecordRejected, match=r"record: another role \(got=proxy expected=worker\)"):
        check_record(record(), network=MAIN, now=NOW, role=Role.WORKER)
    with pytest.raises(RecordRejected, match="the signature does not fit"):
        check_record(record(), network=DEMO, now=NOW)
    with pytest.raises(RecordRejected, match=f"of another peer .*expected={peer_id_text(BOB.peer_id)}"):
        check_record(record(), network=MAIN, now=NOW, peer=BOB.peer_id)


def test_a_record_in_anothers_name_is_refused() -> None:
    with pytest.raises(RecordRejected, match="the signature does not fit"):
        check_record(forged(record(), Record, BOB), network=MAIN, now=NOW)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"models": (OFFER, replace(OFFER, price=Price(1, 1, 1, 1)))}, "a model is offered twice"),
        ({"models": (replace(OFFER, rates=Rates(1, 0)),)}, "a model has a rate of 0"),
        ({"role": Role.WORKER}, "a worker publishes no address"),
        (
            {"role": Role.WORKER, "addresses": (), "commission_basis_points": 1},
            "only a proxy takes a commission",
        ),
        ({"role": Role.BOOTSTRAP, "commission_basis_points": 1}, "only a proxy takes a commission"),
    ],
)
def test_a_record_that_contradicts_itself_is_neither_made_nor_taken(
    changes: dict[str, Any], fault: str
) -> None:
    with pytest.raises(LocalProtocolError, match=fault):
        record(**changes)
    with pytest.raises(RecordRejected, match=fault):
        check_record(forged(record(), Record, **changes), network=MAIN, now=NOW)


def offers(count: int) -> tuple[ModelOffer, ...]:
    return tuple(replace(OFFER, name=f"{number:096}", features=("f" * 32,)) for number in range(count))


def test_a_record_too_long_for_a_quote_is_neither_made_nor_taken() -> None:
    with pytest.raises(LocalProtocolError, match=rf"record: too long .*max={RECORD_BODY_MAX_BYTES} bytes"):
        record(models=offers(60))
    with pytest.raises(RecordRejected, match=rf"record: too long .*max={RECORD_BODY_MAX_BYTES} bytes"):
        check_record(forged(record(), Record, models=offers(60)), network=MAIN, now=NOW)


def test_the_longest_record_can_be_registered_by_a_newcomer() -> None:
    longest = record(models=offers(53))

    assert RECORD_BODY_MAX_BYTES * 0.95 < len(longest.body) <= RECORD_BODY_MAX_BYTES
    assert len(frame(Register(longest, statement()))) < FRAME_SIZE_MAX_NEWCOMER_BYTES


# ---------------------------------------------------------------- a record and its statement


def test_the_statement_that_a_record_names_belongs_to_it() -> None:
    checked = check_record(record(), network=MAIN, now=NOW)

    assert check_pair(checked, statement(), network=MAIN, now=NOW, role=Role.PROXY).sealing_key == b"s" * 32


def test_another_statement_does_not_belong_to_a_record() -> None:
    checked = check_record(record(), network=MAIN, now=NOW)

    with pytest.raises(RecordRejected, match="not the one that the record names"):
        check_pair(checked, statement(nonce=b"another " * 2), network=MAIN, now=NOW)


@pytest.mark.parametrize(
    ("named", "why"),
    [
        (statement(BOB), "of another identity than the record"),
        (statement(role=Role.WORKER), r"another role \(got=worker expected=proxy\)"),
        (statement(now=NOW - STATEMENT_LIFETIME_MAX_SECONDS), "expired"),
        (statement(network=DEMO), "the signature does not fit"),
    ],
)
def test_a_record_cannot_name_a_statement_that_does_not_hold_for_it(named: Signed, why: str) -> None:
    checked = check_record(record(statement=named), network=MAIN, now=NOW)

    with pytest.raises(RecordRejected, match=why):
        check_pair(checked, named, network=MAIN, now=NOW)


def test_of_two_records_of_a_peer_the_higher_sequence_holds() -> None:
    old, new = (decode_paper(Record, record(sequence=sequence).body) for sequence in (1, 2))
    bobs = replace(new, peer=BOB.peer_id)

    assert is_newer(new, old)
    assert not is_newer(old, new)
    assert not is_newer(old, old)
    assert not is_newer(bobs, old)


# ---------------------------------------------------------------- the DHT


KEY = f"/cocoon/mainnet/{peer_id_text(ALICE.peer_id)}"


def test_a_proxys_record_is_stored_under_its_peer_id() -> None:
    assert dht_key(NAME, ALICE.peer_id) == KEY
    for key in (KEY, KEY.encode()):
        assert validate_dht(key, encode_signed(record()), network=MAIN, now=NOW).peer == ALICE.peer_id


@pytest.mark.parametrize(
    "key",
    [
        "",
        b"\xff/cocoon",
        KEY[1:],
        KEY + "/",
        KEY.replace("cocoon", "ipns"),
        KEY.replace("mainnet", "demo"),
        KEY.replace("mainnet", "Mainnet"),
        "/cocoon/mainnet/",
        "/cocoon/mainnet/proxies/3",
        f"/cocoon/mainnet/1{peer_id_text(ALICE.peer_id)}",
        f"/cocoon/mainnet/{peer_id_text(BOB.peer_id)}",
        "/cocoon/mainnet/" + "z" * 100_000,
    ],
)
def test_under_any_other_key_it_is_refused(key: str | bytes) -> None:
    with pytest.raises(RecordRejected):
        validate_dht(key, encode_signed(record()), network=MAIN, now=NOW)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (encode_signed(record(models=offers(5))), rf"too long .*max={RECORD_SIZE_MAX_BYTES} bytes"),
        (encode_signed(record(role=Role.WORKER, addresses=[])), "another role"),
        (encode_signed(record(now=NOW - RECORD_LIFETIME_MAX_SECONDS)), "expired"),
        (encode_signed(record(now=NOW + CLOCK_SKEW_SECONDS + 1)), "from the future"),
        (encode_signed(record(network=DEMO)), "the signature does not fit"),
        (encode_signed(forged(record(), Record, BOB)), "the signature does not fit"),
    ],
)
def test_what_is_no_valid_proxys_record_is_not_stored(value: bytes, why: str) -> None:
    with pytest.raises(RecordRejected, match=why):
        validate_dht(KEY, value, network=MAIN, now=NOW)


@given(key=st.text(max_size=80) | st.binary(max_size=80) | st.just(KEY), value=st.binary(max_size=1100))
def test_random_keys_and_values_are_refused(key: str | bytes, value: bytes) -> None:
    with pytest.raises((RecordRejected, MalformedMessage)):
        validate_dht(key, value, network=MAIN, now=NOW)


@given(sequences=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=6), data=st.data())
def test_the_highest_sequence_is_selected_wherever_it_stands(
    sequences: list[int], data: st.DataObject
) -> None:
    values = [encode_signed(record(sequence=sequence)) for sequence in sequences]
    values.insert(data.draw(st.integers(0, len(values))), b"no record")

    chosen = values[select_newest(values)]

    assert chosen == encode_signed(record(sequence=max(sequences)))


def test_between_two_records_of_one_sequence_every_node_chooses_alike() -> None:
    values = [encode_signed(record(commission_basis_points=points)) for points in (1, 2, 3)]

    chosen = {values[select_newest(values)], values[::-1][select_newest(values[::-1])]}

    assert len(chosen) == 1


def test_proxies_are_spread_over_the_shards() -> None:
    peers = [Identity.from_seed(bytes([number]) * 32).peer_id for number in range(200)]

    assert len(set(shard_keys(NAME))) == PROXY_SHARDS
    assert {shard_key_of(NAME, peer) for peer in peers} == set(shard_keys(NAME))
    assert not set(shard_keys(NAME)) & set(shard_keys("demo"))
