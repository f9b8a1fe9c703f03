"""What `cryptography` raises over certificates and lists that a peer made up.

Most are values that are none; some have classes of their own beside ValueError.
"""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

MALFORMED_DER: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.AttributeNotFound,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
