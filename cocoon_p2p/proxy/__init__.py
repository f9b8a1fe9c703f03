"""The proxy: sells its workers' answers, carries sealed bytes between the two, and settles with both."""

from cocoon_p2p.proxy.policy import ProxyPolicy as ProxyPolicy
from cocoon_p2p.proxy.service import Proxy as Proxy
from cocoon_p2p.proxy.service import serve_proxy as serve_proxy
