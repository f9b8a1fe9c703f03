"""The policy's file: who must have signed it, what it may say, and that it never goes back."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.attestation import Pins, Policy, Seen, accept_policy, sign_policy
from cocoon_p2p.attestation.policy import GRACE_SECONDS
from cocoon_p2p.attestation.policy_file import read_policy, signers, split_policy
from cocoon_p2p.errors import ConfigurationError, PolicyRejected
from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.testing.papers import paper_identity
from tests.attestation.scene import NETWORK, NOW

ALICE, BOB, CAROL, MALLORY = map(paper_identity, range(40, 44))
TWO_OF_THREE = Pins(frozenset({ALICE.public_key, BOB.public_key, CAROL.public_key}), 2)

HEAD = """network = "test"
epoch = 7
expires = 2027-06-01T00:00:00Z
"""
TEXT = (
    HEAD
    + f"""accept = ["tdx-dcap-v4"]
proxies = "any"
log_levels = ["warning"]

[tcb]
statuses = ["UpToDate", "SWHardeningNeeded"]
refused_advisories = ["INTEL-SA-01036"]
evaluation_minimum = 17

[attributes]
allowed = "0000000050000000"

[platforms]
denied = ["{"ab" * 16}"]
peers_max = 4

[gpus]
required = true

[[gpus.firmware]]
name = "H100"
driver = "550.90.07"
vbios = "96.00.9f.00.01"
measurements = {{ 2 = ["{"11" * 48}"] }}

[[image]]
name = "worker 1.0"
build = "https://example.invalid/1.0"
role = "worker"
mrtd = "{"01" * 48}"
rtmr0 = "{"02" * 48}"
rtmr1 = "{"03" * 48}"
rtmr2 = "{"04" * 48}"
events = {{ "compose-hash" = ["0a0b"], "instance-id" = "any" }}
"""
).encode()
EXPIRES = 1_811_808_000.0


def signed(text: bytes = TEXT, *by: Identity) -> bytes:
    for signer in by or (ALICE, BOB):
        text = sign_policy(text, signer)
    return text


def accept(
    data: bytes,
    *,
    pins: Pins = TWO_OF_THREE,
    now: float = NOW,
    seen: Seen | None = None,
    network: str = "test",
) -> Policy:
    return accept_policy(data, pins=pins, network=network_id(network), now=now, seen=seen)


def test_a_policy_that_enough_pinned_keys_signed_is_read() -> None:
    policy = accept(signed())

    assert (policy.network, policy.epoch, policy.expires) == (NETWORK, 7, EXPIRES)
    assert policy.accept == {"tdx-dcap-v4"}
    assert policy.statuses == {"UpToDate", "SWHardeningNeeded"}
    assert (policy.refused_advisories, policy.evaluation_minimum) == ({"INTEL-SA-01036"}, 17)
    assert (policy.attributes_required, policy.attributes_allowed) == (1 << 28, 1 << 28 | 1 << 30)
    assert (policy.platforms_allowed, policy.platforms_denied) == (None, {b"\xab" * 16})
    assert (policy.peers_per_platform, policy.is_gpu_required) == (4, True)
    assert (policy.are_proxies_attested, policy.log_levels) == (False, {"warning"})
    (image,) = policy.images
    assert (image.role, image.mrtd, image.mr_config_id) == (Role.WORKER, b"\1" * 48, bytes(48))
    assert image.events == {"compose-hash": {b"\x0a\x0b"}, "instance-id": None}
    assert policy.gpus[0].measurements == {2: {b"\x11" * 48}}


def test_the_shortest_policy_is_the_strictest() -> None:
    policy = accept(signed(HEAD.encode()))

    assert (policy.images, policy.gpus, policy.allow_insecure) == ((), (), False)
    assert policy.statuses == {"UpToDate"}
    assert policy.are_proxies_attested


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        signed(TEXT, ALICE),
        signed(TEXT, ALICE, MALLORY),
        signed(TEXT, ALICE) + signed(TEXT, ALICE).split(b"\n")[-2] + b"\n",
        signed().replace(b"epoch = 7", b"epoch = 8"),
        signed().replace(b"# cocoon-sig", b"#  cocoon-sig", 1),
        b"x = " + b"[" * 20_000 + b"\n",
    ],
    ids=["unsigned", "one of two", "a stranger", "one key twice", "changed", "changed in the tail", "a bomb"],
)
def test_a_policy_without_enough_pinned_signatures_is_refused(data: bytes) -> None:
    with pytest.raises(PolicyRejected, match="not signed by enough"):
        accept(data)


def test_an_unsigned_policy_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(*_: object) -> Policy:
        raise AssertionError("it was parsed")

    monkeypatch.setattr("cocoon_p2p.attestation.policy_file.read_text", parse)

    with pytest.raises(PolicyRejected):
        accept(TEXT)


def test_a_policy_for_another_network_is_refused() -> None:
    with pytest.raises(PolicyRejected):
        accept(signed(), network="mainnet")


def test_a_policy_that_was_signed_for_our_network_and_names_another_is_refused() -> None:
    body = TEXT.replace(b'"test"', b'"demo"')
    lines = [
        f"# cocoon-signature ed25519 {signer.public_key.hex()} {signer.sign('policy', NETWORK, body).hex()}\n"
        for signer in (ALICE, BOB)
    ]

    with pytest.raises(PolicyRejected, match="for another network"):
        accept(body + "".join(lines).encode())


def test_a_policy_never_goes_back() -> None:
    policy = accept(signed())

    assert accept(signed(), seen=Seen(7, policy.digest)) == policy
    assert accept(signed(), seen=Seen(6, bytes(32))) == policy
    with pytest.raises(PolicyRejected, match=r"rolled back \(epoch=7 seen=8\)"):
        accept(signed(), seen=Seen(8, bytes(32)))
    with pytest.raises(PolicyRejected, match="another one of an epoch"):
        accept(signed(), seen=Seen(7, bytes(32)))


@pytest.mark.parametrize("now", [EXPIRES + GRACE_SECONDS, float("nan"), float("inf")])
def test_a_policy_two_weeks_past_its_date_is_refused(now: float) -> None:
    assert accept(signed(), now=EXPIRES + GRACE_SECONDS - 1)
    with pytest.raises(PolicyRejected, match="expired"):
        accept(signed(), now=now)


@pytest.mark.parametrize(
    "tail",
    [
        b"[tcb]\n",
        b"\n",
        b"# a comment\n",
        b"# cocoon-signature ed25519 00 00\n",
        b"# cocoon-signature rot13\n",
    ],
)
def test_nothing_but_signatures_may_follow_the_first(tail: bytes) -> None:
    with pytest.raises(PolicyRejected, match="nothing but signatures"):
        accept(signed() + tail + signed(TEXT, CAROL).split(b"\n")[-2] + b"\n")


def test_signing_again_replaces_ones_own_signature() -> None:
    once = signed(TEXT, ALICE, BOB)

    again = sign_policy(once, ALICE)

    assert signers(split_policy(again), NETWORK) == (BOB.public_key, ALICE.public_key)
    assert split_policy(again).body == TEXT


def test_a_text_without_an_end_of_line_can_be_signed() -> None:
    assert accept(signed(TEXT.rstrip(b"\n"))).digest == accept(signed()).digest


MISTAKES: dict[str, Callable[[str], str]] = {
    "a misspelt key": lambda text: text.replace("evaluation_minimum", "evaluation_minimun"),
    "a key twice": lambda text: text + "epoch = 8\n",
    "a debuggable machine": lambda text: text.replace("0000000050000000", "0000000050000001"),
    "a status that Intel has not": lambda text: text.replace('"UpToDate"', '"Revoked"'),
    "a type that nobody knows": lambda text: text.replace('"tdx-dcap-v4"', '"tdx"'),
    "a date without a zone": lambda text: text.replace("00:00:00Z", "00:00:00"),
    "a short digest": lambda text: text.replace("01" * 48, "01" * 47),
    "an upper-case digest": lambda text: text.replace("0a0b", "0A0B"),
    "a role of clients": lambda text: text.replace('"worker"', '"client"'),
    "an epoch of zero": lambda text: text.replace("epoch = 7", "epoch = 0"),
    "an epoch that is no integer": lambda text: text.replace("epoch = 7", "epoch = 7.0"),
    "an epoch that is no number": lambda text: text.replace("epoch = 7", "epoch = nan"),
    "a huge epoch": lambda text: text.replace("epoch = 7", f"epoch = {10**400}"),
    "no cap at all": lambda text: text.replace("peers_max = 4", "peers_max = 0"),
    "no measurement": lambda text: text.replace(f'{{ 2 = ["{"11" * 48}"] }}', "{}"),
    "control characters": lambda text: text.replace("worker 1.0", "worker\\u001b[2J"),
    "a network that is none": lambda text: text.replace('"test"', '"Test!"'),
    "no TOML": lambda text: text + "]\n",
    "deep arrays": lambda text: text + "[x]\ny = " + "[" * 9_000 + "]" * 9_000,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_text_is_refused_when_it_is_signed(mistake: str) -> None:
    text = MISTAKES[mistake](TEXT.decode())
    assert text != TEXT.decode()

    with pytest.raises(PolicyRejected):
        sign_policy(text.encode(), ALICE)


def test_the_text_is_bounded() -> None:
    with pytest.raises(PolicyRejected, match="too long"):
        accept(TEXT + b"#" * 70_000)


@pytest.mark.parametrize(("keys", "needed"), [(0, 1), (2, 3), (2, 0), (17, 1)])
def test_pins_that_cannot_be_satisfied_or_need_nothing_are_refused(keys: int, needed: int) -> None:
    with pytest.raises(ConfigurationError):
        Pins(frozenset(bytes([number]) * 32 for number in range(keys)), needed)


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_or_split(data: bytes) -> None:
    try:
        read_policy(split_policy(data))
    except PolicyRejected:
        return
    raise AssertionError("that was a policy")
