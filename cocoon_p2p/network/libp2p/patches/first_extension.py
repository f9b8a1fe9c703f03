"""Write the libp2p extension as the first one of our TLS certificate.

Upstream writes it third. js-libp2p (@libp2p/tls 3.1.10) reads only the first and so refuses
every TLS connection with py-libp2p, in both directions. The order means nothing in X.509 and the
libp2p specification leaves it open.
"""

# There is no public way: see the package's docstring.
# pyright: reportPrivateUsage=false

from cryptography import x509
from libp2p.crypto.keys import PublicKey
from libp2p.security.tls import certificate

_add_last = certificate.add_libp2p_extension


def _add_first(
    builder: x509.CertificateBuilder, peer_public_key: PublicKey, signature: bytes
) -> x509.CertificateBuilder:
    extended = _add_last(builder, peer_public_key, signature)
    *others, libp2p = extended._extensions
    extended._extensions = [libp2p, *others]
    return extended


PATCHES = ((certificate, "add_libp2p_extension", _add_first),)
