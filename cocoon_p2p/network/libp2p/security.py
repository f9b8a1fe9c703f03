"""How connections are secured: Noise first, TLS for peers that prefer it. Never plaintext.

Upstream's default also accepts /plaintext/2.0.0 and /secio/1.0.0 from whoever asks, so a
host must always be built with these options.

Spec: libp2p specs/noise, specs/tls.
"""

from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.custom_types import TSecurityOptions
from libp2p.security.noise import transport as noise
from libp2p.security.tls import transport as tls


def security_options(key_pair: KeyPair) -> TSecurityOptions:
    """Choose what a node offers and accepts, best first.

    Noise leads: to set a connection up costs 6 ms of processor time, at both ends together, where
    TLS takes 10; once it stands, both carry bytes about equally fast (docs/decisions/0004-own-yamux.md). Call
    it after `patches.install`, since TLS writes its certificate here.
    """
    return {
        noise.PROTOCOL_ID: noise.Transport(key_pair, noise_privkey=create_new_key_pair().private_key),
        tls.PROTOCOL_ID: tls.TLSTransport(key_pair),
    }
