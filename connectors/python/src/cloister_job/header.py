"""The header of a sealed file: docs/formats/sealed.md, "Header"."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import struct
from dataclasses import dataclass
from typing import Any, Sequence, Tuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import SealedError

MAX_FIXED_LENGTH = 1024
PREFIX_LENGTH = 18
ALIGNMENT = 4096
_MAX_LENGTH = 65_536
_MAX_SLOTS = 256
_MAX_WRAPPED_DEK = 4096
_MAC_LENGTH = 32
_MAGIC = b"CLOISTER"
_FORMAT_VERSION = 1
_MAC_INFO = b"cloister sealed v1 header mac"
_SUITE = "AES256_GCM_HKDF"
_MIN_SEGMENT, _MAX_SEGMENT = 256, 1 << 24
_MAX_PART = 2**32 - 1
_ID = re.compile(r"[0-9a-f]{32}")
_MEDIA_TYPE = re.compile(r"[ -~]{1,255}")
_NAME = re.compile(r"[!-~]{1,255}")
_FIELDS = {"compression", "datasetId", "fileId", "mediaType", "part", "segmentSize", "suite"}


@dataclass(frozen=True)
class FixedPart:
    """What a sealed file is; never changes after the file is written."""

    dataset_id: str
    file_id: str
    media_type: str
    part: int
    segment_size: int

    def encode(self, header_length: int) -> bytes:
        """The fixed part's bytes, for a header of this length."""
        text = self._json()
        return _MAGIC + struct.pack(">HII", _FORMAT_VERSION, header_length, len(text)) + text

    def _json(self) -> bytes:
        # Of these fields, which are ASCII and have whole numbers, this is the form of RFC 8785.
        fields = {
            "compression": "none",
            "datasetId": self.dataset_id,
            "fileId": self.file_id,
            "mediaType": self.media_type,
            "part": self.part,
            "segmentSize": self.segment_size,
            "suite": _SUITE,
        }
        return json.dumps(fields, separators=(",", ":")).encode("ascii")

    @staticmethod
    def parse(text: bytes) -> FixedPart:
        """Reads the JSON; another spelling than the canonical one is refused."""
        try:
            fields: Any = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as cause:
            raise SealedError("HEADER", "the fixed part is not JSON in UTF-8") from cause
        if not isinstance(fields, dict) or set(fields) != _FIELDS or fields["suite"] != _SUITE:
            raise SealedError("HEADER", "the fixed part has not the fields of version 1")
        compression = fields["compression"]
        if compression != "none":
            if isinstance(compression, str) and len(compression) <= 64 and compression.isascii():
                raise SealedError("COMPRESSED", f"compression: wanted none, seen {compression!r}")
            raise SealedError("HEADER", "compression is not a name")
        size, part = fields["segmentSize"], fields["part"]
        if type(size) is not int or type(part) is not int or not 0 <= part <= _MAX_PART:
            raise SealedError("HEADER", "part or segmentSize is no number of the format")
        if not _MIN_SEGMENT <= size <= _MAX_SEGMENT:
            raise SealedError("LIMIT", f"segment size: wanted {_MIN_SEGMENT} to {_MAX_SEGMENT}, seen {size}")
        for name, pattern in (("datasetId", _ID), ("fileId", _ID), ("mediaType", _MEDIA_TYPE)):
            if not isinstance(fields[name], str) or pattern.fullmatch(fields[name]) is None:
                raise SealedError("HEADER", f"{name} is malformed")
        fixed = FixedPart(fields["datasetId"], fields["fileId"], fields["mediaType"], part, size)
        if fixed._json() != text:
            raise SealedError("HEADER", "the fixed part is not in canonical form")
        return fixed


@dataclass(frozen=True)
class Slot:
    """A wrap of the file's key."""

    kms_id: str
    cmk_id: str
    cmk_version: int
    wrapped_dek: bytes


@dataclass(frozen=True)
class Header:
    """A well-formed header, which nothing has authenticated before :meth:`verify`."""

    fixed: FixedPart
    slots: Sequence[Slot]
    length: int
    fixed_bytes: bytes
    mac_input: bytes
    mac: bytes

    def verify(self, dek: bytes) -> None:
        """Checks the MAC, which also commits to the key."""
        if not hmac.compare_digest(_mac(dek, self.mac_input), self.mac):
            raise SealedError("HEADER_MAC", "altered header or wrong key")


def header_length(prefix: bytes) -> int:
    """How long the header is that begins with these bytes, at least 18."""
    if len(prefix) < PREFIX_LENGTH:
        raise SealedError("TRUNCATED", "no whole header")
    if prefix[: len(_MAGIC)] != _MAGIC:
        raise SealedError("MAGIC", "not a sealed file")
    version, length, json_length = struct.unpack_from(">HII", prefix, len(_MAGIC))
    if version != _FORMAT_VERSION:
        raise SealedError("VERSION", f"format version: wanted {_FORMAT_VERSION}, seen {version}")
    if not ALIGNMENT <= length <= _MAX_LENGTH or length % ALIGNMENT != 0:
        raise SealedError("LIMIT", f"a header cannot be {length} bytes long")
    if PREFIX_LENGTH + json_length > MAX_FIXED_LENGTH:
        raise SealedError("LIMIT", f"the fixed part is longer than {MAX_FIXED_LENGTH} bytes")
    return int(length)


def fixed_bytes_of(begin: bytes) -> bytes:
    """The fixed part's bytes, of at least as many bytes of a file's beginning."""
    header_length(begin)
    (json_length,) = struct.unpack_from(">I", begin, PREFIX_LENGTH - 4)
    end = PREFIX_LENGTH + json_length
    if len(begin) < end:
        raise SealedError("TRUNCATED", "the header is cut off")
    return begin[:end]


def digest_of(fixed_bytes: bytes) -> str:
    """SHA-256 of the fixed part, in hexadecimal digits."""
    return hashlib.sha256(fixed_bytes).hexdigest()


def parse_header(data: bytes) -> Header:
    """Reads a whole header, exactly as long as it says it is."""
    length = header_length(data)
    if len(data) < length:
        raise SealedError("TRUNCATED", "the header is cut off")
    if len(data) > length:
        raise SealedError("TRAILING_BYTES", "bytes follow the header")
    fixed_bytes = fixed_bytes_of(data)
    fixed = FixedPart.parse(fixed_bytes[PREFIX_LENGTH:])
    slots, end = _parse_slots(data, len(fixed_bytes))
    mac, padding = data[end : end + _MAC_LENGTH], data[end + _MAC_LENGTH :]
    if len(mac) < _MAC_LENGTH:
        raise SealedError("TRUNCATED", "the header is cut off")
    if padding.count(0) != len(padding):
        raise SealedError("HEADER", "the header's padding is not zero")
    return Header(fixed, slots, length, fixed_bytes, data[:end], mac)


def length_for(fixed: FixedPart, slots: Sequence[Slot]) -> int:
    """The length of the shortest header that holds this fixed part and these slots."""
    needed = len(fixed.encode(0)) + len(_encode_slots(slots)) + _MAC_LENGTH
    length = -(-needed // ALIGNMENT) * ALIGNMENT
    if length > _MAX_LENGTH:
        raise SealedError("LIMIT", f"header: wanted at most {_MAX_LENGTH} bytes, seen {needed}")
    return length


def encode_header(fixed_bytes: bytes, slots: Sequence[Slot], dek: bytes) -> bytes:
    """A header with its MAC, as long as its fixed part says."""
    text = fixed_bytes + _encode_slots(slots)
    return (text + _mac(dek, text)).ljust(header_length(fixed_bytes), b"\0")


def _mac(dek: bytes, text: bytes) -> bytes:
    key = HKDF(algorithm=SHA256(), length=_MAC_LENGTH, salt=None, info=_MAC_INFO).derive(dek)
    return hmac.digest(key, text, "sha256")


def _encode_slots(slots: Sequence[Slot]) -> bytes:
    encoded = struct.pack(">H", len(slots))
    for slot in slots:
        for name in (slot.kms_id, slot.cmk_id):
            encoded += struct.pack(">H", len(name)) + name.encode("ascii")
        encoded += struct.pack(">IH", slot.cmk_version, len(slot.wrapped_dek)) + slot.wrapped_dek
    return encoded


def _parse_slots(data: bytes, offset: int) -> Tuple[Sequence[Slot], int]:
    """The slots that begin here, and where they end."""
    (count,), offset = _take(data, offset, ">H")
    if count == 0:
        raise SealedError("NO_SLOT", "a sealed file has at least one slot")
    if count > _MAX_SLOTS:
        raise SealedError("LIMIT", f"slots: wanted at most {_MAX_SLOTS}, seen {count}")
    slots = []
    for _ in range(count):
        kms_id, offset = _take_counted(data, offset)
        cmk_id, offset = _take_counted(data, offset)
        (cmk_version,), offset = _take(data, offset, ">I")
        wrapped_dek, offset = _take_counted(data, offset)
        names = [name.decode("latin-1") for name in (kms_id, cmk_id)]
        if any(_NAME.fullmatch(name) is None for name in names):
            raise SealedError("HEADER", "a KMS or CMK id is 1 to 255 visible ASCII characters")
        if not 1 <= len(wrapped_dek) <= _MAX_WRAPPED_DEK:
            raise SealedError("LIMIT", f"wrapped key: wanted 1 to {_MAX_WRAPPED_DEK} bytes")
        slots.append(Slot(names[0], names[1], cmk_version, wrapped_dek))
    return tuple(slots), offset


def _take(data: bytes, offset: int, form: str) -> Tuple[Tuple[Any, ...], int]:
    end = offset + struct.calcsize(form)
    if end > len(data):
        raise SealedError("TRUNCATED", "the header is cut off")
    return struct.unpack_from(form, data, offset), end


def _take_counted(data: bytes, offset: int) -> Tuple[bytes, int]:
    (length,), offset = _take(data, offset, ">H")
    if offset + length > len(data):
        raise SealedError("TRUNCATED", "the header is cut off")
    return data[offset : offset + length], offset + length
