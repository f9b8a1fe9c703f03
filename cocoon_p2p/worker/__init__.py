"""The worker: runs models for clients it never meets, and is paid by the proxies in between."""

from cocoon_p2p.worker.service import Worker as Worker
from cocoon_p2p.worker.service import serve_worker as serve_worker
