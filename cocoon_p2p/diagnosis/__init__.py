"""What is the matter with a node: looked at from outside, whether it runs or not."""

from cocoon_p2p.diagnosis.checkup import check_up as check_up
from cocoon_p2p.diagnosis.finding import Finding as Finding
from cocoon_p2p.diagnosis.finding import Severity as Severity
from cocoon_p2p.diagnosis.patient import Patient as Patient
