"""The gates: what each of them stops, in which order, and what the vector then says."""

from dataclasses import replace
from typing import Any

import pytest

from cocoon_p2p.attestation import (
    Cause,
    Claim,
    Gate,
    Roots,
    Tri,
    Verdict,
    configuration_event,
    decode_evidence,
    default_policy,
    demo_policy,
    encode_evidence,
    judge,
    require,
    satisfies,
    simulate,
)
from cocoon_p2p.attestation.evidence import SIM, SIM_WARNING, RuntimeEvent, report_data
from cocoon_p2p.attestation.examination import examine_alone
from cocoon_p2p.attestation.policy import GRACE_SECONDS
from cocoon_p2p.errors import AttestationFailed, LocalProtocolError, MalformedMessage
from cocoon_p2p.identity import network_id
from cocoon_p2p.protocols.ids import STATEMENT_LIFETIME_MAX_SECONDS, Role, Trust
from cocoon_p2p.protocols.messages import KeyStatement, Signed
from cocoon_p2p.protocols.papers import sign
from cocoon_p2p.protocols.schema import decode_paper, encode_paper
from cocoon_p2p.testing.gpus import PaperGpu
from cocoon_p2p.testing.machines import PaperMachine, TdBody
from cocoon_p2p.testing.papers import paper_identity
from tests.attestation.scene import (
    CPU,
    NETWORK,
    NOW,
    ON_GPU,
    Scene,
    firmware_of,
    image_of,
    policy_for,
)

GOOD, DOUBT, BAD = Tri.AFFIRMED, Tri.UNKNOWN, Tri.REFUTED


def vector(verdict: Verdict) -> tuple[Tri, ...]:
    return tuple(verdict.vector[claim] for claim in Claim)


def test_an_attested_worker_with_a_cpu_engine_passes_as_tdx() -> None:
    scene = Scene()

    verdict = scene.judge()

    assert (verdict.cause, verdict.level) == (Cause.PASSED, Trust.TDX)
    assert vector(verdict) == (GOOD, GOOD, GOOD, GOOD, DOUBT, DOUBT)
    assert (verdict.peer, verdict.role) == (scene.peer, Role.WORKER)
    assert verdict.image == "paper worker 1.0 (https://example.invalid/build/1.0)"
    assert verdict.configuration == CPU
    assert verdict.platform == scene.machine.ppid
    assert not verdict.is_insecure


def test_a_verdict_holds_until_the_first_of_statement_lists_and_policy_ends() -> None:
    scene = Scene()
    statement_ends = NOW + STATEMENT_LIFETIME_MAX_SECONDS
    policy = policy_for(scene.body, expires=NOW + 10 * 86_400)

    assert scene.judge(policy).until == statement_ends
    assert scene.judge(replace(policy, expires=NOW - GRACE_SECONDS + 50)).until == NOW + 50
    lists = replace(scene.machine, crl_ends_days=0.25)
    assert Scene(machine=lists).judge(policy).until == NOW + 6 * 3600


# ---------------------------------------------------------------- the statement


def test_evidence_that_is_replayed_by_another_peer_is_refused_as_nothing_at_all() -> None:
    verdict = Scene().judge(peer=paper_identity(8).peer_id)

    assert (verdict.cause, verdict.level) == (Cause.OTHER_PEER, None)
    assert vector(verdict) == (DOUBT,) * 6


def test_a_statement_for_another_role_is_refused() -> None:
    verdict = Scene(role=Role.PROXY).judge(role=Role.WORKER)

    assert (verdict.cause, verdict.detail) == (Cause.OTHER_ROLE, "got=proxy expected=worker")


def test_a_statement_with_a_false_signature_is_refused() -> None:
    scene = Scene()
    signed = scene.statement

    verdict = scene.judge(statement=Signed(signed.body, bytes(64)))

    assert (verdict.cause.gate, verdict.level, verdict.peer) == (Gate.STATEMENT, None, None)


def test_a_statement_for_another_network_is_refused() -> None:
    verdict = Scene(network=network_id("demo")).judge()

    assert verdict.cause is Cause.STATEMENT_INVALID


@pytest.mark.parametrize(
    ("born", "cause"),
    [
        (NOW + 61, Cause.NOT_YET_VALID),
        (NOW + 59, Cause.PASSED),
        (NOW - STATEMENT_LIFETIME_MAX_SECONDS, Cause.EXPIRED),
        (NOW - STATEMENT_LIFETIME_MAX_SECONDS + 1, Cause.PASSED),
    ],
)
def test_a_statement_counts_within_its_dates(born: float, cause: Cause) -> None:
    assert Scene(born=born).judge().cause is cause


def test_a_statement_that_would_live_longer_than_a_day_is_refused() -> None:
    scene = Scene()
    stated = decode_paper(KeyStatement, scene.statement.body)
    long = sign(scene.identity, NETWORK, replace(stated, expires=stated.expires + 1))

    verdict = scene.judge(statement=long)

    assert (verdict.cause, verdict.level) == (Cause.EXPIRED, None)


# ---------------------------------------------------------------- the evidence


def test_a_peer_without_evidence_is_open() -> None:
    verdict = Scene().judge(evidence=None)

    assert (verdict.cause, verdict.level) == (Cause.NO_EVIDENCE, Trust.OPEN)
    assert vector(verdict) == (DOUBT,) * 6


@pytest.mark.parametrize(
    "junk", [b"", b"\xa0", b"\x9f" * 64, b"\x81" * 5_000, bytes(200_000), b"\xa1\x01\x63abc"]
)
def test_junk_is_malformed_evidence(junk: bytes) -> None:
    assert Scene().judge(evidence=junk).cause is Cause.EVIDENCE_MALFORMED


@pytest.mark.parametrize(
    "lie",
    [
        {"type": "tdx-dcap-v5"},
        {"type": SIM},
        {"quote": None},
        {"simulated": bytes(64)},
        {"warning": SIM_WARNING},
        {"type": "tdx-dcap-v4+nvgpu"},
        {"events": (RuntimeEvent("a:b", b""),)},
        {"events": (RuntimeEvent("", b""),)},
    ],
    ids=str,
)
def test_evidence_whose_fields_do_not_fit_its_type_is_neither_made_nor_read(lie: dict[str, Any]) -> None:
    false = replace(Scene().shown, **lie)

    with pytest.raises(LocalProtocolError):
        encode_evidence(false)
    with pytest.raises(MalformedMessage):
        decode_evidence(encode_paper(false))


def test_a_type_that_the_policy_does_not_list_is_refused_before_anything_else() -> None:
    scene = Scene()
    policy = policy_for(scene.body, accept=frozenset({"tdx-dcap-v4+nvgpu"}))

    assert scene.judge(policy, collateral=None).cause is Cause.TYPE_NOT_ACCEPTED


def test_without_lists_a_quote_proves_nothing_yet() -> None:
    verdict = Scene().judge(collateral=None)

    assert (verdict.cause, verdict.level) == (Cause.COLLATERAL_MISSING, Trust.OPEN)
    assert vector(verdict) == (DOUBT,) * 6


def test_a_false_quote_refutes_the_hardware() -> None:
    scene = Scene()
    quote = bytearray(scene.quote)
    quote[700] ^= 1

    verdict = scene.judge(evidence=encode_evidence(replace(scene.shown, quote=bytes(quote))))

    assert verdict.cause is Cause.QUOTE_INVALID
    assert verdict.vector.hardware is BAD


# ---------------------------------------------------------------- the machine and its image


def test_a_policy_that_lists_no_image_accepts_none() -> None:
    scene = Scene()

    verdict = scene.judge(policy_for(scene.body, images=()))

    assert (verdict.cause, verdict.level, verdict.vector.image) == (Cause.NO_IMAGE_LISTED, Trust.OPEN, DOUBT)
    assert scene.judge(default_policy(NETWORK)).cause is Cause.NO_IMAGE_LISTED


@pytest.mark.parametrize("register", ["mrtd", "rtmr0", "rtmr1", "rtmr2", "mr_config_id"])
def test_an_image_that_differs_in_one_register_is_not_the_listed_one(register: str) -> None:
    scene = Scene()
    other = image_of(scene.body, **{register: b"\x77" * 48})

    verdict = scene.judge(policy_for(images=(other,)))

    assert (verdict.cause, verdict.vector.image) == (Cause.IMAGE_NOT_LISTED, BAD)


def test_an_image_that_is_listed_for_proxies_does_not_pass_as_a_worker() -> None:
    scene = Scene()

    verdict = scene.judge(policy_for(images=(image_of(scene.body, Role.PROXY),)))

    assert verdict.cause is Cause.IMAGE_NOT_LISTED


@pytest.mark.parametrize("owner", ["mr_owner", "mr_owner_config"])
def test_a_domain_that_somebody_owns_is_not_the_listed_image(owner: str) -> None:
    owned: dict[str, Any] = {owner: b"\1" * 48}
    scene = Scene(machine=PaperMachine(now=NOW, body=TdBody(**owned)))

    assert scene.judge().cause is Cause.IMAGE_NOT_LISTED


@pytest.mark.parametrize(
    ("attributes", "cause"),
    [
        (1 << 28 | 1, Cause.DEBUG),
        (1 << 28 | 1 << 63, Cause.ATTRIBUTES),
        (0, Cause.ATTRIBUTES),
        (1 << 28 | 1 << 30, Cause.PASSED),
    ],
)
def test_attributes_of_a_domain_are_those_that_the_policy_allows(attributes: int, cause: Cause) -> None:
    scene = Scene(machine=PaperMachine(now=NOW, body=TdBody(attributes=attributes)))

    verdict = scene.judge()

    assert verdict.cause is cause
    assert verdict.vector.image is (GOOD if cause is Cause.PASSED else BAD)


@pytest.mark.parametrize(
    ("attributes", "cause"),
    [(1 << 28 | 2, Cause.DEBUG), (1 << 30, Cause.ATTRIBUTES), (1 << 28 | 1 << 29, Cause.ATTRIBUTES)],
)
def test_attributes_are_judged_even_where_the_library_would_let_them_pass(
    attributes: int, cause: Cause
) -> None:
    found = Scene().examine()
    assert found.td is not None
    found = replace(found, td=replace(found.td, attributes=attributes))

    verdict = judge(found, policy_for(Scene().body), now=NOW)

    assert (verdict.cause, verdict.vector.image) == (cause, BAD)


def test_findings_that_are_judged_late_are_held_to_their_dates() -> None:
    found, policy = Scene().examine(), policy_for(Scene().body, expires=NOW + 9e7)

    stale = judge(found, policy, now=NOW + 30 * 86_400)
    expired = judge(found, policy, now=NOW + STATEMENT_LIFETIME_MAX_SECONDS)

    assert (expired.cause, expired.level) == (Cause.EXPIRED, None)
    assert stale.cause is Cause.EXPIRED
    assert found.statement is not None
    younger = replace(found, statement=replace(found.statement, expires=int(NOW) + 10**8))
    assert judge(younger, policy, now=NOW + 30 * 86_400).cause is Cause.COLLATERAL_STALE


def test_an_advisory_that_the_policy_refuses_stops_a_platform() -> None:
    scene = Scene(machine=PaperMachine(now=NOW, advisories=("INTEL-SA-00837", "INTEL-SA-01036")))
    policy = policy_for(scene.body, refused_advisories=frozenset({"INTEL-SA-01036"}))

    verdict = scene.judge(policy)

    assert (verdict.cause, verdict.detail, verdict.vector.tcb) == (Cause.ADVISORY, "INTEL-SA-01036", BAD)
    assert scene.judge().advisories == ("INTEL-SA-00837", "INTEL-SA-01036")


def test_lists_below_the_least_evaluation_number_are_too_old() -> None:
    scene = Scene()

    assert scene.judge(policy_for(scene.body, evaluation_minimum=19)).cause is Cause.EVALUATION_TOO_OLD
    assert scene.judge(policy_for(scene.body, evaluation_minimum=18)).has_passed


def test_a_quote_with_other_report_data_does_not_speak_for_these_keys() -> None:
    scene = Scene()
    other = Scene(number=1)

    verdict = scene.judge(evidence=other.evidence)

    assert (verdict.cause, verdict.level, verdict.vector.keys) == (Cause.KEYS_NOT_BOUND, Trust.OPEN, BAD)


def test_report_data_bind_the_network_and_every_byte_of_the_statement() -> None:
    statement = Scene().statement
    data = report_data(NETWORK, statement)

    assert data != report_data(network_id("demo"), statement)
    assert data != report_data(NETWORK, Signed(statement.body + b"\0", statement.signature))
    assert data == report_data(NETWORK, Signed(statement.body, bytes(64)))


# ---------------------------------------------------------------- the log


def with_log(scene: Scene, *events: RuntimeEvent) -> bytes:
    return encode_evidence(replace(scene.shown, events=events))


def test_a_log_that_does_not_come_to_rtmr3_is_refused() -> None:
    scene = Scene(configuration=replace(CPU, upstream="http://10.0.0.1:8000/v1"))
    innocent = replace(scene, configuration=CPU)

    verdict = scene.judge(evidence=with_log(scene, *innocent.events), policy=policy_for(scene.body))

    assert verdict.cause is Cause.LOG_DOES_NOT_REPLAY


def test_the_order_of_a_log_counts() -> None:
    scene = Scene(extra_events=(RuntimeEvent("a", b"1"), RuntimeEvent("b", b"2")))
    image = image_of(scene.body, events={"a": None, "b": None})
    a, b, configuration = scene.events

    assert scene.judge(policy_for(images=(image,))).has_passed
    turned = scene.judge(policy_for(images=(image,)), evidence=with_log(scene, b, a, configuration))
    assert turned.cause is Cause.LOG_DOES_NOT_REPLAY


@pytest.mark.parametrize(
    ("rules", "cause"),
    [
        ({"compose-hash": frozenset({b"\1"})}, Cause.PASSED),
        ({"compose-hash": None}, Cause.PASSED),
        ({"compose-hash": frozenset({b"\2"})}, Cause.EVENT_NOT_ALLOWED),
        ({}, Cause.EVENT_NOT_ALLOWED),
        ({"compose-hash": None, "app-id": frozenset({b"\1"})}, Cause.EVENT_NOT_ALLOWED),
        ({"compose-hash": None, "app-id": None}, Cause.PASSED),
    ],
    ids=str,
)
def test_events_are_those_that_the_image_is_listed_with(
    rules: dict[str, frozenset[bytes] | None], cause: Cause
) -> None:
    scene = Scene(extra_events=(RuntimeEvent("compose-hash", b"\1"),))

    assert scene.judge(policy_for(images=(image_of(scene.body, events=rules),))).cause is cause


def test_an_image_may_be_listed_with_the_one_configuration_that_it_may_have() -> None:
    scene = Scene()
    other = replace(scene, configuration=replace(CPU, log_level="error"))
    rules = {"cocoon-configuration": frozenset({scene.events[-1].payload})}
    policy = policy_for(images=(image_of(scene.body, events=rules),))

    assert scene.judge(policy).has_passed
    assert other.judge(policy).cause is Cause.EVENT_NOT_ALLOWED


def test_an_event_that_is_logged_twice_is_refused() -> None:
    scene = Scene(extra_events=(RuntimeEvent("a", b""), RuntimeEvent("a", b"")))

    verdict = scene.judge(policy_for(images=(image_of(scene.body, events={"a": None}),)))

    assert (verdict.cause, verdict.detail) == (Cause.EVENT_NOT_ALLOWED, "a is logged twice")


# ---------------------------------------------------------------- the measured configuration


@pytest.mark.parametrize(
    "upstream",
    [
        "http://10.0.0.1:8000/v1",
        "http://localhost:8000",
        "http://127.0.0.1@evil.example/",
        "http://127.0.0.1:80@evil.example/",
        "http://127.0.0.1\\@evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://[::1].evil.example/",
        "http://127.0.0.1:8000/v1\n",
        "HTTP://127.0.0.1",
        "//127.0.0.1",
        "http://127.0.0.1/?@evil",
        "http://127.0.0.1/#@evil",
        "ftp://127.0.0.1/",
        "http://\u0666127.0.0.1/",
        "http://12\u0667.0.0.1/",
        " ",
    ],
)
def test_a_genuine_machine_that_sends_prompts_elsewhere_is_open(upstream: str) -> None:
    verdict = Scene(configuration=replace(CPU, engine="upstream", upstream=upstream)).judge()

    assert (verdict.cause, verdict.level) == (Cause.UPSTREAM_OUTSIDE, Trust.OPEN)
    assert vector(verdict)[:4] == (GOOD, GOOD, BAD, GOOD)


@pytest.mark.parametrize(
    "upstream", ["", "http://127.0.0.1:8000/v1", "http://[::1]:30000", "https://127.8.9.1/a/b"]
)
def test_an_engine_behind_a_loopback_address_stays_inside(upstream: str) -> None:
    assert Scene(configuration=replace(CPU, engine="upstream", upstream=upstream)).judge().has_passed


def test_a_machine_that_logs_prompts_is_open() -> None:
    verdict = Scene(configuration=replace(CPU, log_level="debug")).judge()

    assert (verdict.cause, verdict.level) == (Cause.LOG_LEVEL, Trust.OPEN)


def test_a_worker_that_measured_no_configuration_is_open() -> None:
    assert Scene(configuration=None).judge().cause is Cause.CONFIGURATION_MISSING


def test_a_proxy_needs_no_measured_configuration() -> None:
    scene = Scene(role=Role.PROXY, configuration=None)

    verdict = scene.judge(policy_for(images=(image_of(scene.body, Role.PROXY),)))

    assert (verdict.cause, verdict.level) == (Cause.PASSED, Trust.TDX)


def test_a_statement_that_names_another_configuration_than_was_measured_is_refused() -> None:
    scene = Scene(configuration=None)
    measured = configuration_event(CPU)
    machine_measured = replace(Scene().body)
    quote = scene.machine.quote(report_data(NETWORK, scene.statement), rtmrs=machine_measured.rtmrs)
    evidence = encode_evidence(replace(scene.shown, quote=quote, events=(measured,)))

    verdict = scene.judge(policy_for(machine_measured), evidence=evidence)

    assert verdict.cause is Cause.CONFIGURATION_NOT_BOUND


def test_a_proxy_that_states_a_configuration_must_have_measured_it() -> None:
    scene = Scene(role=Role.PROXY)
    image = image_of(scene.body, Role.PROXY)
    nothing_measured = replace(scene.machine.body)
    quote = scene.machine.quote(report_data(NETWORK, scene.statement), rtmrs=nothing_measured.rtmrs)
    evidence = encode_evidence(replace(scene.shown, quote=quote, events=()))

    verdict = scene.judge(policy_for(images=(image,)), evidence=evidence)

    assert verdict.cause is Cause.CONFIGURATION_NOT_BOUND


def test_a_configuration_that_is_logged_twice_is_refused_of_a_simulation_too() -> None:
    scene = Scene()
    twice = simulate(scene.statement, NETWORK, events=scene.events * 2)

    assert scene.judge(demo_policy(NETWORK), evidence=twice).cause is Cause.CONFIGURATION_NOT_BOUND


def test_a_configuration_that_cannot_be_read_is_refused() -> None:
    scene = Scene(configuration=None, extra_events=(RuntimeEvent("cocoon-configuration", b"\x81" * 900),))

    assert scene.judge().cause is Cause.CONFIGURATION_NOT_BOUND


# ---------------------------------------------------------------- the platform


def test_a_platform_is_affirmed_only_where_the_policy_lists_it() -> None:
    scene = Scene()
    platform = scene.machine.ppid

    listed = scene.judge(policy_for(scene.body, platforms_allowed=frozenset({platform})))
    other = scene.judge(policy_for(scene.body, platforms_allowed=frozenset({bytes(16)})))
    denied = scene.judge(policy_for(scene.body, platforms_denied=frozenset({platform})))

    assert (listed.cause, listed.vector.platform) == (Cause.PASSED, GOOD)
    assert (other.cause, other.vector.platform) == (Cause.PLATFORM_NOT_LISTED, BAD)
    assert (denied.cause, denied.vector.platform) == (Cause.PLATFORM_DENIED, BAD)


# ---------------------------------------------------------------- GPUs


def gpu_scene(*gpus: PaperGpu) -> Scene:
    return Scene(configuration=ON_GPU, gpus=gpus or (PaperGpu(),))


def test_a_machine_with_proven_gpus_passes_as_tdx_and_gpu() -> None:
    scene = gpu_scene(PaperGpu(number=1), PaperGpu(number=2))

    verdict = scene.judge(policy_for(scene.body, gpus=(firmware_of(PaperGpu()),)))

    assert (verdict.cause, verdict.level) == (Cause.PASSED, Trust.TDX_GPU)
    assert vector(verdict) == (GOOD, GOOD, GOOD, GOOD, GOOD, DOUBT)


@pytest.mark.parametrize(
    "configuration", [ON_GPU, replace(CPU, uses_gpu=True), replace(ON_GPU, uses_gpu=False)]
)
def test_an_engine_on_a_gpu_without_gpu_evidence_is_open_whatever_the_cpu_proves(configuration: Any) -> None:
    verdict = Scene(configuration=configuration).judge()

    assert (verdict.cause, verdict.level) == (Cause.GPU_MISSING, Trust.OPEN)
    assert vector(verdict)[:5] == (GOOD, GOOD, GOOD, GOOD, DOUBT)


def test_a_policy_that_requires_gpus_refuses_a_cpu_engine() -> None:
    scene = Scene()

    assert scene.judge(policy_for(scene.body, is_gpu_required=True)).cause is Cause.GPU_MISSING


def test_a_policy_that_lists_no_gpu_firmware_accepts_none() -> None:
    scene = gpu_scene()

    verdict = scene.judge(policy_for(scene.body))

    assert (verdict.cause, verdict.level, verdict.vector.gpu) == (Cause.GPU_NOT_LISTED, Trust.OPEN, DOUBT)


def test_a_gpu_with_other_firmware_is_refused() -> None:
    scene = gpu_scene()
    changed = dict(PaperGpu().measurements) | {9: b"\x99" * 48}

    for other in (PaperGpu(driver="1.0"), PaperGpu(measurements=changed)):
        verdict = replace(scene, gpus=(other,)).judge(policy_for(scene.body, gpus=(firmware_of(PaperGpu()),)))
        assert (verdict.cause, verdict.vector.gpu) == (Cause.GPU_NOT_LISTED, BAD)


def test_a_denied_gpu_is_refused() -> None:
    scene = gpu_scene()
    policy = policy_for(
        scene.body, gpus=(firmware_of(PaperGpu()),), gpus_denied=frozenset({PaperGpu().device})
    )

    assert scene.judge(policy).cause is Cause.GPU_DENIED


def test_a_gpu_that_answered_another_quote_is_refused() -> None:
    scene, other = gpu_scene(), replace(gpu_scene(), number=1)
    borrowed = replace(scene.shown, gpus=other.shown.gpus)

    verdict = scene.judge(
        policy_for(scene.body, gpus=(firmware_of(PaperGpu()),)), evidence=encode_evidence(borrowed)
    )

    assert (verdict.cause, verdict.vector.gpu) == (Cause.GPU_INVALID, BAD)
    assert verdict.detail == "a report answers another quote"


def test_one_gpu_does_not_count_twice() -> None:
    verdict = gpu_scene(PaperGpu(), PaperGpu()).judge()

    assert (verdict.cause, verdict.detail) == (Cause.GPU_INVALID, "one GPU is shown twice")


def test_gpus_under_another_root_than_nvidias_are_refused() -> None:
    scene = gpu_scene()

    assert scene.judge(roots=Roots(scene.machine.root_der)).cause is Cause.GPU_INVALID


# ---------------------------------------------------------------- simulation


def simulated(scene: Scene) -> bytes:
    return simulate(scene.statement, NETWORK, events=scene.events)


def test_a_simulation_passes_only_where_the_policy_lists_it_and_allows_what_is_insecure() -> None:
    scene = Scene()
    demo = demo_policy(NETWORK)

    verdict = scene.judge(demo, evidence=simulated(scene))

    assert (verdict.cause, verdict.level, verdict.is_insecure) == (Cause.PASSED, Trust.SIM, True)
    assert verdict.warnings == (SIM_WARNING,)
    assert vector(verdict) == (DOUBT,) * 6
    for policy in (
        default_policy(NETWORK),
        replace(demo, allow_insecure=False),
        replace(demo, accept=frozenset({"tdx-dcap-v4"})),
    ):
        assert scene.judge(policy, evidence=simulated(scene)).cause is Cause.TYPE_NOT_ACCEPTED


def test_a_simulation_for_other_keys_is_refused() -> None:
    verdict = Scene().judge(demo_policy(NETWORK), evidence=simulated(Scene(number=1)))

    assert (verdict.cause, verdict.vector.keys) == (Cause.KEYS_NOT_BOUND, BAD)


def test_a_simulation_bears_its_warning_in_the_open() -> None:
    assert SIM_WARNING.encode() in simulated(Scene())
    assert b"INSECURE" in simulated(Scene())


# ---------------------------------------------------------------- the policy's dates


def test_a_policy_past_its_date_warns_for_fourteen_days_and_then_accepts_nothing() -> None:
    scene = Scene()
    policy = policy_for(scene.body, expires=NOW)

    warned = scene.judge(policy)
    refused = scene.judge(replace(policy, expires=NOW - GRACE_SECONDS))

    assert warned.has_passed
    assert warned.warnings == ("the policy is past its date; in 14 days it will accept nothing",)
    assert refused.cause is Cause.POLICY_EXPIRED


# ---------------------------------------------------------------- levels


@pytest.mark.parametrize(
    ("level", "satisfied"),
    [
        (None, ""),
        (Trust.OPEN, "open"),
        (Trust.SIM, "open sim"),
        (Trust.TDX, "open tdx"),
        (Trust.TDX_GPU, "open tdx tdx_gpu"),
    ],
)
def test_a_level_satisfies_what_is_weaker_and_a_simulation_nothing_real(
    level: Trust | None, satisfied: str
) -> None:
    assert {asked.name.lower() for asked in Trust if satisfies(level, asked)} == set(satisfied.split())


def test_a_failure_says_whose_evidence_failed_at_which_gate() -> None:
    verdict = Scene().judge(evidence=None)

    require(verdict, Trust.OPEN)
    with pytest.raises(AttestationFailed, match=r"worker of 12D3\w+ at gate type: no-evidence") as failure:
        require(verdict, Trust.TDX)
    assert "(proven=open asked=tdx)" in str(failure.value)


def test_evidence_by_itself_passes_no_policy() -> None:
    scene = Scene()
    found = examine_alone(scene.shown, collateral=scene.collateral, now=NOW, roots=scene.roots)

    verdict = judge(found, policy_for(scene.body), now=NOW)

    assert (verdict.cause, verdict.vector.keys) == (Cause.KEYS_NOT_BOUND, DOUBT)
    assert vector(verdict)[:3] == (GOOD, GOOD, GOOD)


@pytest.mark.parametrize("now", [float("nan"), float("inf"), -1.0])
def test_a_time_that_is_none_is_a_fault_of_ours(now: float) -> None:
    with pytest.raises(LocalProtocolError):
        Scene().examine(now=now)


def test_every_cause_has_its_own_word() -> None:
    assert len({cause.code for cause in Cause}) == len(Cause)
