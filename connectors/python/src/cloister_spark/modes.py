"""How a path is read and written, and what Spark is to be told of it."""

from __future__ import annotations

from enum import Enum
from typing import Sequence, Union

from .job import Dataset, scheme_of

_SEALED = "sealed+"
_NO_CBC = (
    "nothing in .cbc files was ever authenticated, so none is read in an instance. Import them outside, "
    "`cloister encrypt FILE.cbc FOLDER --key KEY --unauthenticated-cbc DATA_KEY_FILE`, and read the "
    "dataset with crypto_mode sealed"
)


class CryptoMode(Enum):
    """How files are protected.

    ``SEALED``: a dataset of the job. ``PLAIN_TEXT``: any other file, as it is. ``AES_GCM_V1`` and
    ``AES_GCM_CTR_V1``: Parquet in a dataset of the job, whose files are encrypted themselves as well,
    by Parquet modular encryption. ``AES_CBC_PKCS5PADDING`` is refused: programs of the older stack name it,
    and are told what takes its place.
    """

    SEALED = "sealed"
    PLAIN_TEXT = "plain_text"
    AES_GCM_V1 = "AES_GCM_V1"
    AES_GCM_CTR_V1 = "AES_GCM_CTR_V1"
    AES_CBC_PKCS5PADDING = "AES/CBC/PKCS5Padding"

    @property
    def is_modular(self) -> bool:
        """Whether Parquet encrypts."""
        return self in (CryptoMode.AES_GCM_V1, CryptoMode.AES_GCM_CTR_V1)

    @classmethod
    def parse(cls, mode: Union[str, CryptoMode]) -> CryptoMode:
        """A mode, or one by its name in any case of letters."""
        text = mode.value if isinstance(mode, cls) else str(mode)
        for one in cls:
            if text.lower() != one.value.lower():
                continue
            if one is cls.AES_CBC_PKCS5PADDING:
                raise ValueError(f"crypto_mode {text!r}: {_NO_CBC}")
            return one
        wanted = " or ".join(one.value for one in cls if one is not cls.AES_CBC_PKCS5PADDING)
        raise ValueError(f"crypto_mode: wanted {wanted}, seen {text!r}")


def located(path: str, mode: CryptoMode, datasets: Sequence[Dataset]) -> str:
    """The path as Spark takes it, with the scheme that the mode asks for.

    :param datasets: the job's. What is sealed is never given out as if it were plain text.
    """
    scheme = scheme_of(path)
    if scheme == "" and not path.startswith("/"):
        raise ValueError(f"path: wanted an absolute one or a URI, seen {path!r}")
    if mode is not CryptoMode.PLAIN_TEXT:
        if scheme.startswith(_SEALED):
            return path
        return _SEALED + (path if scheme else f"file:{path}")
    dataset = next((found for found in datasets if found.holds(path)), None)
    if scheme.startswith(_SEALED) or dataset is not None:
        which = "sealed" if dataset is None else f"the job's {dataset.kind} {dataset.name}"
        raise ValueError(f"{path} is {which}: wanted crypto_mode sealed, seen plain_text")
    return path if scheme else f"file:{path}"
