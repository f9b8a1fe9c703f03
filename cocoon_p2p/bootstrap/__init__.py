"""The bootstrap role: the first address that other nodes dial. Operators: bootstrap/runbook.md."""

from cocoon_p2p.bootstrap.service import serve_bootstrap as serve_bootstrap
