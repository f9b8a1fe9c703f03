"""What a node offers and accepts to secure a connection."""

from libp2p.crypto.ed25519 import create_new_key_pair

from cocoon_p2p.network.libp2p.security import security_options


def test_noise_comes_first_and_nothing_is_offered_that_does_not_encrypt() -> None:
    assert list(security_options(create_new_key_pair())) == ["/noise", "/tls/1.0.0"]
