"""What the key service tells, typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, Mapping, Optional, Tuple

from .errors import KmsConnectionError


def member(value: Any, name: str, kind: type) -> Any:
    """A member of an answer, checked to be of a kind."""
    found = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise KmsConnectionError("ANSWER", f"the answer's {name} is not as the protocol says")
    return found


def _instant(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Rotation:
    """When the service rotates a key by itself."""

    period_days: int
    next_rotation_at: datetime


@dataclass(frozen=True)
class Key:
    """A customer master key, as its owner sees it."""

    key_id: str
    owner: str
    #: ``attested-only`` or ``open``, for good.
    mode: str
    #: ``enabled``, ``disabled``, ``pending-import``, ``pending-deletion`` or ``deleted``.
    state: str
    key_spec: str
    key_usage: str
    #: ``internal``, or ``external`` for material that was brought.
    origin: str
    current_version: int
    algorithms: Tuple[str, ...]
    aliases: Tuple[str, ...]
    description: str
    tags: Mapping[str, str]
    created_at: datetime
    rotation: Optional[Rotation]
    deletion_at: Optional[datetime]

    @staticmethod
    def parse(value: Any) -> "Key":
        """A key from an answer."""
        rotation = value.get("rotation") if isinstance(value, Mapping) else None
        deletion = value.get("deletionAt") if isinstance(value, Mapping) else None
        return Key(
            key_id=member(value, "keyId", str),
            owner=member(value, "owner", str),
            mode=member(value, "mode", str),
            state=member(value, "state", str),
            key_spec=member(value, "keySpec", str),
            key_usage=member(value, "keyUsage", str),
            origin=member(value, "origin", str),
            current_version=member(value, "currentVersion", int),
            algorithms=tuple(member(value, "algorithms", list)),
            aliases=tuple(member(value, "aliases", list)),
            description=member(value, "description", str),
            tags=dict(member(value, "tags", dict)),
            created_at=_instant(member(value, "createdAt", str)),
            rotation=None
            if rotation is None
            else Rotation(
                member(rotation, "periodDays", int),
                _instant(member(rotation, "nextRotationAt", str)),
            ),
            deletion_at=None if deletion is None else _instant(member(value, "deletionAt", str)),
        )


@dataclass(frozen=True)
class Alias:
    """A name that the account has for a key."""

    alias: str
    key_id: str
    created_at: datetime

    @staticmethod
    def parse(value: Any) -> "Alias":
        """An alias from an answer."""
        return Alias(
            member(value, "alias", str),
            member(value, "keyId", str),
            _instant(member(value, "createdAt", str)),
        )


@dataclass(frozen=True)
class Encrypted:
    """Bytes encrypted, and the key version that did it."""

    key_id: str
    key_version: int
    ciphertext: bytes


@dataclass(frozen=True)
class DataKey(Encrypted):
    """A data key. Its plaintext is a secret: it does not print, and belongs on no disk."""

    plaintext: bytes = field(repr=False, default=b"")


@dataclass(frozen=True)
class PublicKey:
    """The public half of a key."""

    key_id: str
    #: PEM of SubjectPublicKeyInfo.
    pem: str
    key_spec: str
    key_usage: str
    algorithms: Tuple[str, ...]


@dataclass(frozen=True)
class ImportParameters:
    """What material is brought with."""

    key_id: str
    #: PEM of SubjectPublicKeyInfo.
    public_key: str
    import_token: str
    wrapping_algorithm: str
    valid_to: datetime

    @staticmethod
    def parse(value: Any) -> "ImportParameters":
        """Parameters from an answer."""
        return ImportParameters(
            member(value, "keyId", str),
            member(value, "publicKey", str),
            member(value, "importToken", str),
            member(value, "wrappingAlgorithm", str),
            _instant(member(value, "validTo", str)),
        )


def without_none(**members: Any) -> Dict[str, Any]:
    """Members of a request; those that are None are left out."""
    return {name: value for name, value in members.items() if value is not None}
