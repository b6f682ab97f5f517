"""Bytes as the key service writes them: base64url without padding, in the one spelling there is."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from .errors import KmsConnectionError


def to_base64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(what: str, text: Any) -> bytes:
    """Decodes a field of an answer; another spelling than the canonical one is refused."""
    try:
        if isinstance(text, str):
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            if to_base64url(data) == text:
                return data
    except (ValueError, binascii.Error):
        pass
    raise KmsConnectionError("ANSWER", f"{what} is not base64url without padding")
