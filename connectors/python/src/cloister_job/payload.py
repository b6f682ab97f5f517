"""The payload of a sealed file, Tink's AES256_GCM_HKDF: docs/formats/sealed.md, "Payload"."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Union

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import SealedError

PAYLOAD_HEADER = 40
TAG = 16
_KEY, _SALT = 32, 32
_MAX_SEGMENTS = 2**32


@dataclass(frozen=True)
class Layout:
    """Where a payload's segments lie, computed from its length alone."""

    length: int
    segment_size: int

    @staticmethod
    def of(length: int, segment_size: int) -> Layout:
        """Lays out a payload of this length, where a payload can be that long."""
        layout = Layout(length, segment_size)
        count = layout.count
        if count > _MAX_SEGMENTS:
            raise SealedError("LIMIT", f"segments: wanted at most {_MAX_SEGMENTS}, seen {count}")
        # Only an empty plaintext has an empty last segment, and that one is also the first.
        ends_badly = count > 1 and length - (count - 1) * segment_size <= TAG
        if length < PAYLOAD_HEADER + TAG or ends_badly:
            raise SealedError("TRUNCATED", f"a payload cannot be {length} bytes long")
        return layout

    @property
    def count(self) -> int:
        return -(-self.length // self.segment_size)

    @property
    def plaintext_length(self) -> int:
        return self.length - PAYLOAD_HEADER - TAG * self.count

    def start(self, segment: int) -> int:
        """Where a segment's ciphertext begins in the payload."""
        return PAYLOAD_HEADER if segment == 0 else segment * self.segment_size

    def end(self, segment: int) -> int:
        return min(self.length, (segment + 1) * self.segment_size)

    def segment_of(self, offset: int) -> int:
        """The segment that holds this byte of the plaintext."""
        return (offset + PAYLOAD_HEADER) // (self.segment_size - TAG)

    def plaintext_start(self, segment: int) -> int:
        return 0 if segment == 0 else segment * (self.segment_size - TAG) - PAYLOAD_HEADER


class SegmentCipher:
    """Opens and seals the segments of one payload."""

    def __init__(self, dek: bytes, header: bytes, fixed_bytes: bytes) -> None:
        if len(header) < PAYLOAD_HEADER or header[0] != PAYLOAD_HEADER:
            raise SealedError("TAG", "the payload's header is not one")
        salt, self._prefix = header[1 : 1 + _SALT], header[1 + _SALT : PAYLOAD_HEADER]
        key = HKDF(algorithm=SHA256(), length=_KEY, salt=salt, info=fixed_bytes).derive(dek)
        self._cipher = AESGCM(key)

    @staticmethod
    def new_header() -> bytes:
        """A payload header with fresh salt and nonce prefix."""
        return bytes([PAYLOAD_HEADER]) + os.urandom(PAYLOAD_HEADER - 1)

    def open(self, segment: int, is_last: bool, ciphertext: bytes) -> bytes:
        """A segment's plaintext, which is authentic and stands where it was written."""
        try:
            return self._cipher.decrypt(self._nonce(segment, is_last), ciphertext, None)
        except InvalidTag as cause:
            raise SealedError("TAG", f"segment {segment} is not authentic") from cause

    def seal(self, segment: int, is_last: bool, plaintext: Union[bytes, bytearray]) -> bytes:
        if segment >= _MAX_SEGMENTS:
            raise SealedError("LIMIT", f"segments: wanted at most {_MAX_SEGMENTS}")
        return self._cipher.encrypt(self._nonce(segment, is_last), plaintext, None)

    def _nonce(self, segment: int, is_last: bool) -> bytes:
        return self._prefix + segment.to_bytes(4, "big") + (b"\x01" if is_last else b"\x00")
