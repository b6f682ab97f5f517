"""Ciphertexts of the key service, and messages under data keys: docs/formats/ciphertext.md."""

from __future__ import annotations

import os
import uuid
from typing import Mapping, Optional, Protocol, Tuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .models import DataKey

_CIPHERTEXT_MAGIC = b"CLKC"
_CIPHERTEXT_HEADER = 24
_MESSAGE_MAGIC = b"CLDM\x01"
_NONCE = 12
_TAG = 16


def key_of(ciphertext: bytes) -> Tuple[str, int]:
    """The key id and version that a ciphertext names. Nothing vouches for them before it decrypts."""
    if len(ciphertext) < _CIPHERTEXT_HEADER or ciphertext[:4] != _CIPHERTEXT_MAGIC:
        raise ValueError("these bytes are no ciphertext of a symmetric key")
    return str(uuid.UUID(bytes=ciphertext[4:20])), int.from_bytes(ciphertext[20:24], "big")


class DataKeys(Protocol):
    """What of a client makes and opens data keys."""

    def generate_data_key(
        self, key: str, *, context: Optional[Mapping[str, str]] = ...
    ) -> DataKey: ...

    def decrypt(
        self,
        ciphertext: bytes,
        *,
        key: Optional[str] = ...,
        context: Optional[Mapping[str, str]] = ...,
    ) -> bytes: ...


def encrypt_message(
    kms: DataKeys, key: str, plaintext: bytes, context: Optional[Mapping[str, str]] = None
) -> bytes:
    """Encrypts bytes of any length here, under a fresh data key that goes with them, encrypted."""
    made = kms.generate_data_key(key, context=context)
    head = _MESSAGE_MAGIC + len(made.ciphertext).to_bytes(2, "big") + made.ciphertext
    nonce = os.urandom(_NONCE)
    return head + nonce + AESGCM(made.plaintext).encrypt(nonce, plaintext, head)


def decrypt_message(
    kms: DataKeys,
    message: bytes,
    context: Optional[Mapping[str, str]] = None,
    *,
    key: Optional[str] = None,
) -> bytes:
    """Decrypts what :func:`encrypt_message` made. Raises ValueError for any other bytes."""
    length_at = len(_MESSAGE_MAGIC)
    length = int.from_bytes(message[length_at : length_at + 2], "big")
    end = length_at + 2 + length
    if message[:length_at] != _MESSAGE_MAGIC or len(message) < end + _NONCE + _TAG:
        raise ValueError("these bytes are no message under a data key")
    data_key = kms.decrypt(message[length_at + 2 : end], key=key, context=context)
    try:
        nonce = message[end : end + _NONCE]
        return AESGCM(data_key).decrypt(nonce, message[end + _NONCE :], message[:end])
    except InvalidTag as error:
        raise ValueError("the message was altered") from error
