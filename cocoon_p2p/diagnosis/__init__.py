"""What is the matter with a node: looked at from outside, whether it runs or not."""

from cocoon_p2p.diagnosis.checkup import Check as Check
from cocoon_p2p.diagnosis.checkup import check_up as check_up
from cocoon_p2p.diagnosis.checkup import from_inside as from_inside
from cocoon_p2p.diagnosis.finding import Finding as Finding
from cocoon_p2p.diagnosis.finding import Severity as Severity
from cocoon_p2p.diagnosis.finding import finding_of as finding_of
from cocoon_p2p.diagnosis.network import look_from_outside as look_from_outside
from cocoon_p2p.diagnosis.patient import Patient as Patient
