"""Trust that can be checked: evidence of the hardware, a policy of the user's, and a verdict.

A node shows a signed key statement and evidence for it (`evidence`). What the evidence proves
is found out once (`examination`: quotes, GPUs, logs, under the makers' `roots`), and judged under the
user's `policy` as often as that changes (`judgement`). `Appraiser` remembers verdicts; `Turnstile`
says who may ask for one. All of this is pure. What touches the world is `makers` (evidence of
this machine), `keeping` (the policy on disk), `shelf` and `mirror` (Intel's lists), and `appraising`
(the whole of it).

Spec: protocols/evidence.md. What the levels mean to people: docs/trust.md.
"""

from cocoon_p2p.attestation.appraiser import Appraiser as Appraiser
from cocoon_p2p.attestation.appraiser import Change as Change
from cocoon_p2p.attestation.appraiser import Shown as Shown
from cocoon_p2p.attestation.collateral import Collateral as Collateral
from cocoon_p2p.attestation.collateral import read_collateral as read_collateral
from cocoon_p2p.attestation.configuration import MeasuredConfiguration as MeasuredConfiguration
from cocoon_p2p.attestation.configuration import configuration_event as configuration_event
from cocoon_p2p.attestation.configuration import configuration_hash as configuration_hash
from cocoon_p2p.attestation.evidence import Evidence as Evidence
from cocoon_p2p.attestation.evidence import decode_evidence as decode_evidence
from cocoon_p2p.attestation.evidence import encode_evidence as encode_evidence
from cocoon_p2p.attestation.evidence import evidence_hash as evidence_hash
from cocoon_p2p.attestation.evidence import report_data as report_data
from cocoon_p2p.attestation.examination import Findings as Findings
from cocoon_p2p.attestation.examination import examine as examine
from cocoon_p2p.attestation.judgement import judge as judge
from cocoon_p2p.attestation.policy import Policy as Policy
from cocoon_p2p.attestation.policy import default_policy as default_policy
from cocoon_p2p.attestation.policy import demo_policy as demo_policy
from cocoon_p2p.attestation.policy_file import Pins as Pins
from cocoon_p2p.attestation.policy_file import Seen as Seen
from cocoon_p2p.attestation.policy_file import accept_policy as accept_policy
from cocoon_p2p.attestation.policy_file import sign_policy as sign_policy
from cocoon_p2p.attestation.roots import VENDOR_ROOTS as VENDOR_ROOTS
from cocoon_p2p.attestation.roots import Roots as Roots
from cocoon_p2p.attestation.simulator import simulate as simulate
from cocoon_p2p.attestation.turnstile import Turnstile as Turnstile
from cocoon_p2p.attestation.verdict import Cause as Cause
from cocoon_p2p.attestation.verdict import Claim as Claim
from cocoon_p2p.attestation.verdict import Gate as Gate
from cocoon_p2p.attestation.verdict import Tri as Tri
from cocoon_p2p.attestation.verdict import Vector as Vector
from cocoon_p2p.attestation.verdict import Verdict as Verdict
from cocoon_p2p.attestation.verdict import require as require
from cocoon_p2p.attestation.verdict import satisfies as satisfies
