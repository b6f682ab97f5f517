"""Parquet modular encryption by PyArrow, under master keys that enclaves have as well.

A master key is a data key of an *open* key of the key service: what is kept of it is a ciphertext.
The same bytes, sealed as a file of a dataset, are what Spark reads and writes under in an instance.

>>> from cloister.parquet import MasterKeys
>>> keys = MasterKeys.create(kms, "alias/exchange", ["keys/footer", "keys/salary"])  # doctest: +SKIP
>>> keys.save("exchange.json")  # doctest: +SKIP
>>> keys.write_table(table, "people.parquet", "keys/footer", {"keys/salary": ["salary"]})  # doctest: +SKIP
"""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pyarrow.types as types
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .ciphertext import DataKeys
from .encoding import from_base64url, to_base64url

_LENGTH = 32
_NONCE = 12
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}/[A-Za-z0-9_-][A-Za-z0-9._-]*")

# FileCryptoMetaData in Thrift's compact protocol: field 1, the union's member 1, AES_GCM_V1.
_AES_GCM_V1 = b"\x1c\x1c"

PathLike = Union[str, "os.PathLike[str]"]


class MasterKeys:
    """Master keys by name, which is ``INPUT/FILE`` as a job has them.

    :param key: the open key that they are under: id, or ``alias/<alias>``.
    :param ciphertexts: the key service's, by name.
    """

    def __init__(self, kms: DataKeys, key: str, ciphertexts: Mapping[str, bytes]) -> None:
        for name in ciphertexts:
            if not _NAME.fullmatch(name):
                raise ValueError(f"master key: wanted INPUT/FILE, seen {name!r}")
        self._kms = kms
        self._key = key
        self._ciphertexts = dict(ciphertexts)
        self._factory = pe.CryptoFactory(lambda _config: _PyArrowClient(self))

    @classmethod
    def create(cls, kms: DataKeys, key: str, names: Sequence[str]) -> MasterKeys:
        """Makes master keys. Attested-only keys give none: ``KEY_ATTESTED_ONLY``."""
        cls(kms, key, {name: b"" for name in names})
        made = {name: kms.generate_data_key(key, context=_context(name)) for name in names}
        return cls(kms, key, {name: data_key.ciphertext for name, data_key in made.items()})

    @classmethod
    def load(cls, kms: DataKeys, key: str, path: PathLike) -> MasterKeys:
        """Reads what :meth:`save` wrote."""
        saved = json.loads(Path(path).read_text("utf-8"))
        if not isinstance(saved, dict) or saved.get("version") != 1 or set(saved) != {"version", "keys"}:
            raise ValueError(f"{path}: wanted master keys of version 1, seen something else")
        return cls(kms, key, {name: from_base64url(name, text) for name, text in saved["keys"].items()})

    def save(self, path: PathLike) -> None:
        """Keeps the ciphertexts, which say nothing to whoever may not use the open key."""
        keys = {name: to_base64url(value) for name, value in self._ciphertexts.items()}
        Path(path).write_text(json.dumps({"version": 1, "keys": keys}), "utf-8")

    def write_plaintext(self, input_name: str, folder: PathLike) -> None:
        """Writes the keys of one input as files, **to be sealed and deleted**: they are not encrypted."""
        files = [name.split("/")[1] for name in self._ciphertexts if name.startswith(f"{input_name}/")]
        if not files:
            raise ValueError(
                f"input: wanted one of {sorted(self._ciphertexts)}, as in INPUT/FILE, seen {input_name!r}"
            )
        Path(folder).mkdir(mode=0o700)
        for file in files:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(Path(folder) / file, flags, 0o600), "wb") as out:
                out.write(self._plaintext(f"{input_name}/{file}"))

    def write_table(
        self,
        table: Any,
        path: PathLike,
        footer_key: str,
        column_keys: Optional[Mapping[str, Sequence[str]]] = None,
    ) -> None:
        """Writes a PyArrow table, each column and the footer encrypted (AES_GCM_V1).

        :param column_keys: columns by master key; those that are not named have the footer's.
        """
        options: Dict[str, Any] = {"uniform_encryption": True}
        if column_keys:
            options = {"column_keys": _all_columns(table, footer_key, column_keys)}
        config = pe.EncryptionConfiguration(
            footer_key, encryption_algorithm="AES_GCM_V1", data_key_length_bits=256, **options
        )
        properties = self._factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
        pq.write_table(table, path, encryption_properties=properties)

    def read_table(self, path: PathLike, columns: Optional[Sequence[str]] = None) -> Any:
        """Reads one encrypted file. One that is not, or whose pages are not authenticated, is refused:
        PyArrow would take both, and whoever holds the file says which it is."""
        _assert_authenticated(path)
        properties = self._factory.file_decryption_properties(pe.KmsConnectionConfig())
        file = pq.ParquetFile(path, decryption_properties=properties)
        return file.read(columns=None if columns is None else list(columns))

    def wrap(self, key: bytes, name: str) -> str:
        """A key under a master key, as parquet-java's ``KeyToolkit.encryptKeyLocally`` has it."""
        nonce = os.urandom(_NONCE)
        sealed = AESGCM(self._plaintext(name)).encrypt(nonce, key, name.encode())
        return base64.b64encode(nonce + sealed).decode("ascii")

    def unwrap(self, wrapped: Union[str, bytes], name: str) -> bytes:
        """The reverse of :meth:`wrap`. Raises ValueError for what is not under this master key."""
        sealed = base64.b64decode(wrapped, validate=True)
        try:
            return AESGCM(self._plaintext(name)).decrypt(
                sealed[:_NONCE], sealed[_NONCE:], name.encode()
            )
        except InvalidTag as error:
            raise ValueError(f"master key {name} does not open this key") from error

    def _plaintext(self, name: str) -> bytes:
        ciphertext = self._ciphertexts.get(name)
        if ciphertext is None:
            raise ValueError(f"master key: wanted one of {sorted(self._ciphertexts)}, seen {name!r}")
        key = self._kms.decrypt(ciphertext, key=self._key, context=_context(name))
        if len(key) != _LENGTH:
            raise ValueError(f"master key {name}: wanted {_LENGTH} bytes, seen {len(key)}")
        return key


class _PyArrowClient(pe.KmsClient):  # type: ignore[misc]
    """What PyArrow asks; whatever service a file names is not looked for."""

    def __init__(self, keys: MasterKeys) -> None:
        super().__init__()
        self._keys = keys

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        return self._keys.wrap(key_bytes, master_key_identifier)

    def unwrap_key(self, wrapped_key: Union[str, bytes], master_key_identifier: str) -> bytes:
        return self._keys.unwrap(wrapped_key, master_key_identifier)


def _context(name: str) -> Dict[str, str]:
    return {"parquet-master-key": name}


def _all_columns(
    table: Any, footer_key: str, column_keys: Mapping[str, Sequence[str]]
) -> Dict[str, List[str]]:
    """PyArrow leaves columns without a key in plaintext, and takes nested ones by other names."""
    nested = [field.name for field in table.schema if types.is_nested(field.type)]
    if nested:
        raise ValueError(f"column_keys: wanted columns that are not nested, seen {nested}")
    keyed = [column for columns in column_keys.values() for column in columns]
    unknown = sorted(set(keyed) - set(table.schema.names))
    if unknown or len(set(keyed)) < len(keyed):
        raise ValueError(f"column_keys: wanted columns of the table, each once, seen {keyed}")
    made = {key: list(columns) for key, columns in column_keys.items()}
    rest = [name for name in table.schema.names if name not in keyed]
    if rest:
        made[footer_key] = made.get(footer_key, []) + rest
    return made


def _assert_authenticated(path: PathLike) -> None:
    with open(path, "rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - 8))
        tail = file.read()
        if tail[4:] != b"PARE":
            raise ValueError(f"{path}: wanted Parquet with an encrypted footer, seen something else")
        footer_length = int.from_bytes(tail[:4], "little")
        file.seek(max(0, length - 8 - footer_length))
        if file.read(len(_AES_GCM_V1)) != _AES_GCM_V1:
            raise ValueError(f"{path}: wanted AES_GCM_V1, seen another algorithm")
