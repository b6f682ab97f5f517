"""What a manifest says of one sealed file: docs/formats/dataset.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

from .errors import BrokerError, SealedError

_MEMBERS = {"number", "name", "path", "fileId", "fixedDigest", "length", "lastTag", "rows"}
_NAME = re.compile(r"(?!manifest[-.])[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")
_DIGITS_32 = re.compile(r"[0-9a-f]{32}")
_DIGITS_64 = re.compile(r"[0-9a-f]{64}")
_NOT_IN_PATHS = re.compile("[\\\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_MAX_PATH = 1024
_MAX_PATH_NAME = 255
_MAX_NUMBER = 2**32 - 1
_MAX_SAFE = 2**53 - 1
_MIN_LENGTH = 4152


@dataclass(frozen=True)
class Part:
    """One file of a dataset.

    ``path`` is where the file stands among the dataset's files, ``name`` what its sealed file is called,
    ``length`` that file's length. ``rows`` is the writer's word.
    """

    number: int
    name: str
    path: str
    file_id: str
    fixed_digest: str
    length: int
    last_tag: str
    rows: Optional[int]

    @staticmethod
    def parse(value: Any) -> Part:
        """Reads a part that the broker told of."""
        if not isinstance(value, Mapping) or set(value) != _MEMBERS:
            raise BrokerError("PROTOCOL", "part: wanted the members of docs/protocols/key-broker.md")
        rows = value["rows"]
        holds = (
            _is_count(value["number"], 0, _MAX_NUMBER)
            and _matches(_NAME, value["name"])
            and isinstance(value["path"], str)
            and is_path(value["path"])
            and _matches(_DIGITS_32, value["fileId"])
            and _matches(_DIGITS_64, value["fixedDigest"])
            and _is_count(value["length"], _MIN_LENGTH, _MAX_SAFE)
            and _matches(_DIGITS_32, value["lastTag"])
            and (rows is None or _is_count(rows, 0, _MAX_SAFE))
        )
        if not holds:
            raise BrokerError("PROTOCOL", f"part {value['name']!r}: not as docs/formats/dataset.md says")
        return Part(
            value["number"],
            value["name"],
            value["path"],
            value["fileId"],
            value["fixedDigest"],
            value["length"],
            value["lastTag"],
            rows,
        )

    def to_json(self) -> Dict[str, Any]:
        """As the broker takes it."""
        return {
            "number": self.number,
            "name": self.name,
            "path": self.path,
            "fileId": self.file_id,
            "fixedDigest": self.fixed_digest,
            "length": self.length,
            "lastTag": self.last_tag,
            "rows": self.rows,
        }


def is_path(path: str) -> bool:
    """Whether a dataset can have a file there: relative, and nothing that leads elsewhere."""
    if _NOT_IN_PATHS.search(path) or len(path.encode()) > _MAX_PATH:
        return False
    return all(
        name not in ("", ".", "..") and len(name.encode()) <= _MAX_PATH_NAME
        for name in path.split("/")
    )


def assert_path(path: str) -> None:
    """Refuses what no dataset can have a file at."""
    if not is_path(path):
        raise SealedError(
            "PATH",
            f"wanted a relative path of at most {_MAX_PATH} bytes and {_MAX_PATH_NAME} in a name, without"
            f" ., .., backslashes and control characters, seen {path!r}",
        )


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_count(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
