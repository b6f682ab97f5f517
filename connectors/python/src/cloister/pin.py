"""What a client knows a key service by."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from .encoding import from_base64url

_MEMBERS = {"url", "kmsId", "identityKey", "certificate"}


@dataclass(frozen=True)
class Pin:
    """The identity key of a key service, and the certificate that it made of itself.

    Get ``kms.json`` over a channel that you trust, or have ``cloister kms verify`` make it. Whoever
    replaces it sends you to another key service.
    """

    url: str
    kms_id: str
    #: SubjectPublicKeyInfo, DER.
    identity_key: bytes
    #: PEM.
    certificate: str

    @staticmethod
    def load(path: Union[str, Path]) -> "Pin":
        """Reads a pin file. Raises ValueError for one that contradicts itself."""
        try:
            value = json.loads(Path(path).read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: wanted a pin (kms.json), seen something else") from error
        return Pin.parse(value)

    @staticmethod
    def parse(value: Any) -> "Pin":
        """Checks a pin: the id is the key's, the certificate the key's own and signed by it."""
        if not isinstance(value, dict) or set(value) != _MEMBERS:
            raise ValueError(f"a pin has exactly the members {', '.join(sorted(_MEMBERS))}")
        if not all(isinstance(member, str) for member in value.values()):
            raise ValueError("members of a pin are strings")
        address = urlsplit(value["url"])
        if address.scheme != "https" or not address.hostname or address.path not in ("", "/"):
            raise ValueError("the url of a pin is https://host:port")
        identity_key = from_base64url("identityKey", value["identityKey"])
        if hashlib.sha256(identity_key).hexdigest() != value["kmsId"]:
            raise ValueError("the id of the pin is not that of its identity key")
        pin = Pin(value["url"], value["kmsId"], identity_key, value["certificate"])
        certificate = x509.load_pem_x509_certificate(pin.certificate.encode("ascii"))
        spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if spki != identity_key or not pin.signed(certificate):
            raise ValueError("the certificate of the pin is not of its identity key")
        return pin

    @property
    def tls_name(self) -> str:
        """The name in the certificate of the key service's TLS key. It resolves nowhere."""
        return f"{self.kms_id[:32]}.kms.cloister.invalid"

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether the identity key itself signed a certificate."""
        key = load_der_public_key(self.identity_key)
        algorithm = certificate.signature_hash_algorithm
        if not isinstance(key, ec.EllipticCurvePublicKey) or algorithm is None:
            return False
        try:
            key.verify(
                certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(algorithm)
            )
        except InvalidSignature:
            return False
        return True
