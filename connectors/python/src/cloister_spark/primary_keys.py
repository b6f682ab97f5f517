"""Names of primary keys, as programs of the older stack configure them, and what they stand for here."""

from __future__ import annotations

import re
from typing import Dict, Iterable, Mapping, Tuple

_OF_OLDER_STACK = ("spark.bigdl.", "spark.hadoop.bigdl.")
# Of Parquet's stand-in for a key service, which has its keys in the configuration.
_KEY_LIST = "spark.hadoop.parquet.encryption.key.list"
_MATERIAL = re.compile(r"spark\.bigdl\.primaryKey\.([^.]+)\.material")
_ONE_KEY = "spark.bigdl.kms.key.primary"
_ARGUMENT = "primary_key_material"
_DEFAULT = "defaultKey"
_REFERENCE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}/[A-Za-z0-9_-][A-Za-z0-9._/-]*")
_WHY = (
    "keys come from the key service, by attestation, and the job says which; only a name is taken, of a "
    "file of one of the job's inputs: INPUT/FILE"
)


class PrimaryKeys:
    """Master keys of Parquet modular encryption by the names that a program gives them."""

    def __init__(self, references: Mapping[str, str]) -> None:
        self._references = dict(references)

    @classmethod
    def parse(cls, arguments: Mapping[str, str], conf: Iterable[Tuple[str, str]]) -> PrimaryKeys:
        """Takes references, and refuses everything else that is of accounts and keys.

        What is refused is told by its name: it may be a secret.
        """
        found: Dict[str, str] = {}
        refused = [name for name in arguments if name != _ARGUMENT]
        if refused:
            raise ValueError(f"ppml_args: {_WHY}; seen {', '.join(refused)}")
        if _ARGUMENT in arguments:
            found[_DEFAULT] = _reference(f"ppml_args: {_ARGUMENT}", arguments[_ARGUMENT])
        for name, value in conf:
            if not name.startswith(_OF_OLDER_STACK) and name != _KEY_LIST:
                continue
            named = _MATERIAL.fullmatch(name)
            if named is None and name != _ONE_KEY:
                refused.append(name)
                continue
            key = named.group(1) if named else _DEFAULT
            found[key] = _reference(f"spark_conf: {name}", value)
        if refused:
            raise ValueError(f"spark_conf: {_WHY}; seen {', '.join(refused)}")
        return cls(found)

    def resolve(self, name: str) -> str:
        """The master key, ``INPUT/FILE``. The only one that is configured needs no name.

        :returns: nothing where none is named and none is configured
        """
        if name == "":
            if len(self._references) > 1:
                raise ValueError(f"primary_key_name: wanted one of {sorted(self._references)}, seen none")
            return next(iter(self._references.values()), "")
        if name in self._references:
            return self._references[name]
        if _REFERENCE.fullmatch(name):
            return name
        wanted = [*sorted(self._references), "INPUT/FILE"]
        raise ValueError(f"primary_key_name: wanted {' or '.join(wanted)}, seen {name!r}")


def _reference(what: str, value: object) -> str:
    if isinstance(value, str) and _REFERENCE.fullmatch(value):
        return value
    raise ValueError(f"{what}: {_WHY}; seen something else")
