"""The client: a method for each verb of the native interface that owners of keys use."""

from __future__ import annotations

from types import TracebackType
from typing import Any, List, Mapping, Optional, Sequence, Type
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from .ciphertext import key_of
from .encoding import from_base64url, to_base64url
from .errors import KmsConnectionError
from .models import (
    Alias,
    DataKey,
    Encrypted,
    ImportParameters,
    Key,
    PublicKey,
    member,
    without_none,
)
from .pin import Pin
from .transport import Retries, Transport

Context = Mapping[str, str]


class KmsClient:
    """Calls one pinned key service. Methods raise KmsError and KmsConnectionError.

    ``key`` is a key id, or ``alias/<alias>``; ``key_id`` is an id, as nothing changes a key by alias.
    Plaintexts under attested-only keys are given by no method: they are released to enclaves.
    """

    def __init__(
        self,
        pin: Pin,
        credential: Optional[str] = None,
        *,
        timeout: float = 30.0,
        retries: Retries = Retries(),
    ) -> None:
        self.pin = pin
        self._transport = Transport(pin, credential, timeout=timeout, retries=retries)

    def __enter__(self) -> "KmsClient":
        return self

    def __exit__(
        self,
        _kind: Optional[Type[BaseException]],
        _error: Optional[BaseException],
        _trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections kept open."""
        self._transport.close()

    # Keys and their life

    def create_key(
        self,
        *,
        mode: Optional[str] = None,
        key_spec: Optional[str] = None,
        key_usage: Optional[str] = None,
        origin: Optional[str] = None,
        alias: Optional[str] = None,
        description: Optional[str] = None,
        tags: Optional[Mapping[str, str]] = None,
    ) -> Key:
        """Makes a key; ``attested-only`` unless ``mode`` says ``open``, for good."""
        body = without_none(
            mode=mode,
            keySpec=key_spec,
            keyUsage=key_usage,
            origin=origin,
            alias=alias,
            description=description,
            tags=tags,
        )
        return Key.parse(self._post("/v1/keys", body))

    def describe_key(self, key: str) -> Key:
        """Describes a key."""
        return Key.parse(self._get(f"/v1/keys/{quote(key, safe='')}"))

    def list_keys(self) -> List[Key]:
        """The account's keys, oldest first."""
        return [Key.parse(value) for value in self._pages("/v1/keys", "keys")]

    def update_key_description(self, key_id: str, description: str) -> Key:
        """Notes what a key is for."""
        return self._change(key_id, "update", {"description": description}, idempotent=True)

    def rotate_key(self, key_id: str) -> Key:
        """Adds a version, which encrypts from now on; those before still decrypt."""
        return self._change(key_id, "rotate")

    def enable_key_rotation(self, key_id: str, period_days: int) -> Key:
        """Has the service rotate a key by itself, every so many days."""
        return self._change(
            key_id, "enable-rotation", {"periodDays": period_days}, idempotent=True
        )

    def disable_key_rotation(self, key_id: str) -> Key:
        """Has a key rotated on demand only."""
        return self._change(key_id, "disable-rotation", idempotent=True)

    def disable_key(self, key_id: str) -> Key:
        """Refuses every use of a key until it is enabled again."""
        return self._change(key_id, "disable", idempotent=True)

    def enable_key(self, key_id: str) -> Key:
        """Allows the use of a key again."""
        return self._change(key_id, "enable", idempotent=True)

    def schedule_key_deletion(self, key_id: str, waiting_period_days: int = 30) -> Key:
        """Plans the deletion of a key; what is under it is then lost for good. 7 to 30 days."""
        return self._change(
            key_id, "schedule-deletion", {"waitingPeriodDays": waiting_period_days}
        )

    def cancel_key_deletion(self, key_id: str) -> Key:
        """Cancels a planned deletion; the key is then disabled."""
        return self._change(key_id, "cancel-deletion")

    def tag_key(self, key_id: str, tags: Mapping[str, str]) -> Key:
        """Sets tags of a key, in place of those of the same names."""
        return self._change(key_id, "tag", {"tags": dict(tags)}, idempotent=True)

    def untag_key(self, key_id: str, tag_keys: Sequence[str]) -> Key:
        """Takes tags of a key away."""
        return self._change(key_id, "untag", {"tagKeys": list(tag_keys)}, idempotent=True)

    # Aliases

    def create_alias(self, alias: str, key_id: str) -> Alias:
        """Names a key; an account has each alias once."""
        return Alias.parse(self._post("/v1/aliases", {"alias": alias, "keyId": key_id}))

    def list_aliases(self) -> List[Alias]:
        """The account's aliases, in the order of their names."""
        return [Alias.parse(value) for value in self._pages("/v1/aliases", "aliases")]

    def update_alias(self, alias: str, key_id: str) -> Alias:
        """Has an alias name another key."""
        path = f"/v1/aliases/{quote(alias, safe='')}/update"
        return Alias.parse(self._post(path, {"keyId": key_id}, idempotent=True))

    def delete_alias(self, alias: str) -> None:
        """Takes an alias away; the key stays."""
        self._post(f"/v1/aliases/{quote(alias, safe='')}/delete", {})

    # Bring your own key

    def get_parameters_for_import(
        self, key_id: str, *, wrapping_algorithm: Optional[str] = None
    ) -> ImportParameters:
        """A fresh key to wrap material to, and the token that lets it in once, within a day."""
        body = without_none(wrappingAlgorithm=wrapping_algorithm)
        return ImportParameters.parse(self._post(f"/v1/keys/{key_id}/import-parameters", body))

    def import_key_material(self, key_id: str, import_token: str, encrypted: bytes) -> Key:
        """Brings material that was wrapped to the key of the import's parameters."""
        body = {"importToken": import_token, "encryptedKeyMaterial": to_base64url(encrypted)}
        return self._change(key_id, "import", body)

    def import_key(self, key_id: str, material: bytes) -> Key:
        """Brings material in one step: 32 bytes, or PKCS#8 (DER) of an RSA or EC key."""
        is_symmetric = len(material) == 32
        parameters = self.get_parameters_for_import(
            key_id,
            wrapping_algorithm="RSAES_OAEP_SHA_256"
            if is_symmetric
            else "RSA_AES_KEY_WRAP_SHA_256",
        )
        public = load_pem_public_key(parameters.public_key.encode("ascii"))
        if not isinstance(public, rsa.RSAPublicKey):
            raise KmsConnectionError("ANSWER", "the wrapping key is no RSA key")
        oaep = padding.OAEP(mgf=padding.MGF1(SHA256()), algorithm=SHA256(), label=None)
        if is_symmetric:
            wrapped = public.encrypt(material, oaep)
        else:
            aes_key = AESGCM.generate_key(256)
            wrapped = public.encrypt(aes_key, oaep) + aes_key_wrap_with_padding(aes_key, material)
        return self.import_key_material(key_id, parameters.import_token, wrapped)

    # Uses of open keys

    def encrypt(
        self, key: str, plaintext: bytes, *, context: Optional[Context] = None
    ) -> Encrypted:
        """Encrypts up to 4096 bytes; for more, :func:`cloister.encrypt_message`."""
        body = without_none(plaintext=to_base64url(plaintext), encryptionContext=context)
        return _encrypted_from(self._use(key, "encrypt", body))

    def decrypt(
        self, ciphertext: bytes, *, key: Optional[str] = None, context: Optional[Context] = None
    ) -> bytes:
        """Decrypts. Without ``key``, the ciphertext is asked which, and whoever made it has chosen."""
        named = key_of(ciphertext)[0] if key is None else key
        body = without_none(ciphertext=to_base64url(ciphertext), encryptionContext=context)
        return from_base64url("plaintext", member(self._use(named, "decrypt", body), "plaintext", str))

    def re_encrypt(
        self,
        key_id: str,
        ciphertext: bytes,
        *,
        context: Optional[Context] = None,
        destination_key_id: Optional[str] = None,
        destination_context: Optional[Context] = None,
    ) -> Encrypted:
        """From one ciphertext to another, under the newest version or another open key."""
        body = without_none(
            ciphertext=to_base64url(ciphertext),
            encryptionContext=context,
            destinationKeyId=destination_key_id,
            destinationContext=destination_context,
        )
        return _encrypted_from(self._use(key_id, "re-encrypt", body))

    def generate_data_key(
        self, key: str, *, length: int = 32, context: Optional[Context] = None
    ) -> DataKey:
        """A fresh data key: use its plaintext, and keep its ciphertext beside the data."""
        body = without_none(length=length, encryptionContext=context)
        answer = self._use(key, "generate-data-key", body)
        made = _encrypted_from(answer)
        plaintext = from_base64url("data key", member(answer, "plaintext", str))
        return DataKey(made.key_id, made.key_version, made.ciphertext, plaintext)

    def generate_data_key_without_plaintext(
        self, key: str, *, length: int = 32, context: Optional[Context] = None
    ) -> Encrypted:
        """A fresh data key that only whoever may decrypt it will see."""
        body = without_none(length=length, encryptionContext=context)
        return _encrypted_from(self._use(key, "generate-data-key-without-plaintext", body))

    def sign(
        self, key: str, message: bytes, signing_algorithm: str, *, is_digest: bool = False
    ) -> bytes:
        """Signs up to 4096 bytes, or a digest."""
        body = _signing(message, signing_algorithm, is_digest)
        return from_base64url(
            "signature", member(self._use(key, "sign", body), "signature", str)
        )

    def verify(
        self,
        key: str,
        message: bytes,
        signature: bytes,
        signing_algorithm: str,
        *,
        is_digest: bool = False,
    ) -> bool:
        """Whether a signature is of a key."""
        body = _signing(message, signing_algorithm, is_digest)
        body["signature"] = to_base64url(signature)
        return bool(member(self._use(key, "verify", body), "valid", bool))

    def get_public_key(self, key: str) -> PublicKey:
        """The public half of an asymmetric key."""
        answer = self._get(f"/v1/keys/{quote(key, safe='')}/public-key")
        return PublicKey(
            member(answer, "keyId", str),
            member(answer, "publicKey", str),
            member(answer, "keySpec", str),
            member(answer, "keyUsage", str),
            tuple(member(answer, "algorithms", list)),
        )

    def _use(self, key: str, verb: str, body: Mapping[str, Any]) -> Any:
        """Uses change nothing: they are sent again when the connection broke."""
        return self._post(f"/v1/keys/{quote(key, safe='')}/{verb}", body, idempotent=True)

    def _change(
        self,
        key_id: str,
        verb: str,
        body: Optional[Mapping[str, Any]] = None,
        *,
        idempotent: bool = False,
    ) -> Key:
        path = f"/v1/keys/{quote(key_id, safe='')}/{verb}"
        return Key.parse(self._post(path, body or {}, idempotent=idempotent))

    def _pages(self, path: str, name: str) -> List[Any]:
        found: List[Any] = []
        after = ""
        while True:
            page = self._get(f"{path}?limit=1000{after}")
            found.extend(member(page, name, list))
            if page.get("next") is None:
                return found
            after = f"&after={quote(member(page, 'next', str), safe='')}"

    def _get(self, path: str) -> Any:
        return self._transport.send("GET", path, idempotent=True)

    def _post(self, path: str, body: Mapping[str, Any], *, idempotent: bool = False) -> Any:
        return self._transport.send("POST", path, body, idempotent=idempotent)


def _encrypted_from(answer: Any) -> Encrypted:
    return Encrypted(
        member(answer, "keyId", str),
        member(answer, "keyVersion", int),
        from_base64url("ciphertext", member(answer, "ciphertext", str)),
    )


def _signing(message: bytes, algorithm: str, is_digest: bool) -> dict[str, Any]:
    return {
        "message": to_base64url(message),
        "messageType": "DIGEST" if is_digest else "RAW",
        "signingAlgorithm": algorithm,
    }
