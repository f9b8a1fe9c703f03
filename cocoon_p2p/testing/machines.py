"""TDX machines that exist on paper only: quotes with every byte where Intel's have it, under a root of ours.

A test that needs an attested peer makes a machine, lets it quote, and passes the machine's root
to whoever verifies. Nothing else lets such a quote pass: there is no setting for a root.

    machine = PaperMachine(now=now)
    quote = machine.quote(report_data(network, statement))
    collateral = read_collateral(machine.collateral())
    found = examine(..., roots=Roots(intel_der=machine.root_der))

Arguments change one thing each, so that a lie bears good signatures. Keys and signatures are the
same in every run.

Spec: Intel TDX DCAP Quoting Library API, appendix A; Intel SGX PCK Certificate and CRL profile.
"""

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

SGX_EXTENSION = "1.2.840.113741.1.13.1"
QUOTING_ENCLAVE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")

_BEGINS = datetime(2020, 1, 1, tzinfo=UTC)
ENDS = datetime(2049, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)

# ---------------------------------------------------------------- DER, as little as is needed


def der(tag: int, *parts: bytes) -> bytes:
    """Spell one DER value with a definite length."""
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def der_object_id(text: str) -> bytes:
    """Spell an object id."""
    first, second, *rest = map(int, text.split("."))
    body = bytes([first * 40 + second])
    for arc in rest:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        body += bytes(reversed(groups))
    return der(6, body)


def _sequence(*parts: bytes) -> bytes:
    return der(0x30, *parts)


def _entry(arc: str, value: bytes) -> bytes:
    return _sequence(der_object_id(f"{SGX_EXTENSION}.{arc}"), value)


def _integer(number: int) -> bytes:
    return der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


# ---------------------------------------------------------------- certificates


@dataclass(frozen=True, slots=True)
class Holder:
    """A name, its key and its certificate."""

    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


def paper_key(word: str, curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """Make one key a word, the same in every run."""
    digest = hashlib.sha256(f"paper key {word}".encode()).digest()
    return ec.derive_private_key(int.from_bytes(digest, "big") >> 1, curve or ec.SECP256R1())


def issue(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: Holder | None,
    is_authority: bool,
    digest: hashes.SHA256 | hashes.SHA384 | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
    begins: datetime = _BEGINS,
    ends: datetime = ENDS,
    serial: int | None = None,
    path_length: int | None = None,
) -> Holder:
    """Issue a certificate; without an issuer it is its own."""
    issuer_key = key if issuer is None else issuer.key
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(name if issuer is None else issuer.name))
        .public_key(key.public_key())
        .serial_number(serial or number)
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(is_authority, path_length), critical=True)
        .add_extension(_usage(is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .add_extension(_LISTED_AT, critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return Holder(name, key, builder.sign(issuer_key, digest or hashes.SHA256(), ecdsa_deterministic=True))


_LISTED_AT = x509.CRLDistributionPoints(
    [x509.DistributionPoint([x509.UniformResourceIdentifier("https://paper.invalid/crl")], None, None, None)]
)


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "PAPER, FOR TESTS ONLY"),
        ]
    )


def _usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _signature(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


# ---------------------------------------------------------------- the machine


@dataclass(frozen=True, kw_only=True)
class TdBody:
    """What a quote says of a TD: the fields that a test may want otherwise."""

    tee_tcb_svn: bytes = bytes([6, 1, 3]) + bytes(13)
    attributes: int = 1 << 28
    xfam: int = 0x602E7
    mrtd: bytes = b"\x11" * 48
    mr_config_id: bytes = bytes(48)
    mr_owner: bytes = bytes(48)
    mr_owner_config: bytes = bytes(48)
    rtmrs: tuple[bytes, bytes, bytes, bytes] = (b"\x20" * 48, b"\x21" * 48, b"\x22" * 48, bytes(48))

    def spell(self, report_data: bytes) -> bytes:
        """Spell a TD report body of version 1.0, 584 bytes."""
        assert len(report_data) == 64
        parts = (
            self.tee_tcb_svn,
            bytes(48 + 48 + 8),
            self.attributes.to_bytes(8, "little"),
            self.xfam.to_bytes(8, "little"),
            self.mrtd,
            self.mr_config_id,
            self.mr_owner,
            self.mr_owner_config,
            *self.rtmrs,
            report_data,
        )
        return b"".join(parts)


@dataclass(frozen=True, kw_only=True)
class PaperMachine:
    """A machine, the authorities that vouch for it, and the lists that they publish."""

    now: float
    "The lists are from a day before, and hold for 30 days."

    fmspc: bytes = bytes.fromhex("00deadbeef00")
    ppid: bytes = bytes(range(16))
    cpu_svn: bytes = bytes([2] * 16)
    pce_svn: int = 13
    pce_id: bytes = bytes(2)
    is_multi_package: bool = True
    "Certified by the Platform CA, as machines with several sockets are; else by the Processor CA."

    status: str = "UpToDate"
    advisories: tuple[str, ...] = ()
    evaluation_number: int = 18
    is_revoked: bool = False
    "Its PCK certificate is on the list."

    is_authority_revoked: bool = False
    crl_ends_days: float = 30.0
    "How long after `now` the revocation lists hold; negative for stale ones."

    certificate_ends: datetime = ENDS
    serial: int = 0x5EED
    qe_svn: int = 0
    pce_svn_of_header: int = 0
    user_data: bytes = bytes(20)
    qe_isv_svn: int = 6
    qe_authentication: bytes = bytes(range(32))
    body: TdBody = field(default_factory=TdBody)

    @property
    def root_der(self) -> bytes:
        """The root that must be passed to whoever is to believe this machine."""
        return _der(self._root.certificate)

    def quote(self, report_data: bytes, **changes: Any) -> bytes:
        """Quote 64 bytes. `changes` replaces fields of the `TdBody`."""
        header = struct.pack(
            "<HHIHH16s20s",
            4,
            2,
            0x81,
            self.qe_svn,
            self.pce_svn_of_header,
            QUOTING_ENCLAVE_VENDOR,
            self.user_data,
        )
        signed = header + replace(self.body, **changes).spell(report_data)
        numbers = self._attestation_key.public_key().public_numbers()
        public = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        report = self._quoting_enclave(hashlib.sha256(public + self.qe_authentication).digest())
        chain = (self._pck.pem + self._authority.pem + self._root.pem).encode()
        certification = (
            report
            + _signature(self._pck.key, report)
            + struct.pack("<H", len(self.qe_authentication))
            + self.qe_authentication
            + struct.pack("<HI", 5, len(chain))
            + chain
        )
        signature = (
            _signature(self._attestation_key, signed)
            + public
            + struct.pack("<HI", 6, len(certification))
            + certification
        )
        return signed + struct.pack("<I", len(signature)) + signature

    def collateral(self, **changes: Any) -> bytes:
        """Publish the lists, in dcap-qvl's JSON. `changes` replaces fields of the TCB info."""
        signing = self._tcb_signing
        chain = signing.pem + self._root.pem
        tcb_info, identity = _spell(self._tcb_info | changes), _spell(self._qe_identity)
        fields = {
            "pck_crl_issuer_chain": self._authority.pem + self._root.pem,
            "root_ca_crl": self._crl(
                self._root, [self._authority] if self.is_authority_revoked else []
            ).hex(),
            "pck_crl": self._crl(self._authority, [self._pck] if self.is_revoked else []).hex(),
            "tcb_info_issuer_chain": chain,
            "tcb_info": tcb_info,
            "tcb_info_signature": _signature(signing.key, tcb_info.encode()).hex(),
            "qe_identity_issuer_chain": chain,
            "qe_identity": identity,
            "qe_identity_signature": _signature(signing.key, identity.encode()).hex(),
        }
        return json.dumps(fields).encode()

    # ------------------------------------------------------------ who vouches

    @cached_property
    def _root(self) -> Holder:
        return issue("Paper SGX Root CA", paper_key("root"), issuer=None, is_authority=True)

    @cached_property
    def _authority(self) -> Holder:
        kind = "Platform" if self.is_multi_package else "Processor"
        name = f"Paper SGX PCK {kind} CA"
        return issue(name, paper_key(name), issuer=self._root, is_authority=True)

    @cached_property
    def _pck(self) -> Holder:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(SGX_EXTENSION), self._pck_extension)
        return issue(
            "Paper SGX PCK Certificate",
            paper_key("pck"),
            issuer=self._authority,
            is_authority=False,
            extensions=(extension,),
            ends=self.certificate_ends,
            serial=self.serial,
        )

    @cached_property
    def _tcb_signing(self) -> Holder:
        return issue("Paper SGX TCB Signing", paper_key("tcb"), issuer=self._root, is_authority=False)

    @cached_property
    def _attestation_key(self) -> ec.EllipticCurvePrivateKey:
        return paper_key("attestation")

    @cached_property
    def _pck_extension(self) -> bytes:
        components = [_entry(f"2.{number + 1}", _integer(svn)) for number, svn in enumerate(self.cpu_svn)]
        tcb = _sequence(
            *components, _entry("2.17", _integer(self.pce_svn)), _entry("2.18", der(4, self.cpu_svn))
        )
        entries = [
            _entry("1", der(4, self.ppid)),
            _entry("2", tcb),
            _entry("3", der(4, self.pce_id)),
            _entry("4", der(4, self.fmspc)),
            _entry("5", der(10, bytes([self.is_multi_package]))),
        ]
        if self.is_multi_package:
            flags = [_entry(f"7.{number}", der(1, b"\0")) for number in (1, 2, 3)]
            entries += [_entry("6", der(4, bytes(16))), _entry("7", _sequence(*flags))]
        return _sequence(*entries)

    def _quoting_enclave(self, bound: bytes) -> bytes:
        """Spell the report of Intel's quoting enclave, which vouches for the attestation key."""
        return struct.pack(
            "<16sI28s16s32s32s32s96sHH60s64s",
            bytes(16),
            0,
            bytes(28),
            bytes.fromhex("1100000000000000e700000000000000"),
            b"\xe5" * 32,
            bytes(32),
            b"\xdc" * 32,
            bytes(96),
            2,
            self.qe_isv_svn,
            bytes(60),
            bound + bytes(32),
        )

    # ------------------------------------------------------------ the lists

    @property
    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    @property
    def _dates(self) -> dict[str, str]:
        spell = "%Y-%m-%dT%H:%M:%SZ"
        begins, ends = self._moment - _DAY, self._moment + 30 * _DAY
        return {"issueDate": begins.strftime(spell), "nextUpdate": ends.strftime(spell)}

    def _crl(self, issuer: Holder, revoked: Sequence[Holder]) -> bytes:
        ends = self._moment + self.crl_ends_days * _DAY
        begins = min(self._moment, ends) - _DAY
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(_name(issuer.name))
            .last_update(begins)
            .next_update(ends)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
            )
        )
        for holder in revoked:
            entry = x509.RevokedCertificateBuilder()
            entry = entry.serial_number(holder.certificate.serial_number).revocation_date(begins)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(issuer.key, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(
            serialization.Encoding.DER
        )

    @property
    def _tcb_info(self) -> dict[str, Any]:
        module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        current: dict[str, Any] = {
            "tcb": {
                "sgxtcbcomponents": [{"svn": svn} for svn in self.cpu_svn],
                "pcesvn": self.pce_svn,
                "tdxtcbcomponents": [{"svn": 5}] + [{"svn": 0}] * 15,
            },
            "tcbDate": "2024-03-13T00:00:00Z",
            "tcbStatus": self.status,
        }
        if self.advisories:
            current["advisoryIDs"] = list(self.advisories)
        lowest = {
            "tcb": {
                "sgxtcbcomponents": [{"svn": 0}] * 16,
                "pcesvn": 0,
                "tdxtcbcomponents": [{"svn": 0}] * 16,
            },
            "tcbDate": "2022-01-01T00:00:00Z",
            "tcbStatus": "OutOfDate",
            "advisoryIDs": ["INTEL-SA-00000"],
        }
        return {
            "id": "TDX",
            "version": 3,
            **self._dates,
            "fmspc": self.fmspc.hex().upper(),
            "pceId": self.pce_id.hex(),
            "tcbType": 0,
            "tcbEvaluationDataNumber": self.evaluation_number,
            "tdxModule": module,
            "tdxModuleIdentities": [{"id": "TDX_01", **module, "tcbLevels": [_level(4)]}],
            "tcbLevels": [current, lowest],
        }

    @property
    def _qe_identity(self) -> dict[str, Any]:
        return {
            "id": "TD_QE",
            "version": 2,
            **self._dates,
            "tcbEvaluationDataNumber": self.evaluation_number,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": "11" + "00" * 15,
            "attributesMask": "FB" + "FF" * 7 + "00" * 8,
            "mrsigner": "DC" * 32,
            "isvprodid": 2,
            "tcbLevels": [_level(4)],
        }


def _spell(value: dict[str, Any]) -> str:
    """Spell JSON as Intel does what it signs."""
    return json.dumps(value, separators=(",", ":"))


def _level(isv_svn: int) -> dict[str, Any]:
    return {"tcb": {"isvsvn": isv_svn}, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "UpToDate"}
