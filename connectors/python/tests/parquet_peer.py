"""The other end for the Spark connector's tests: reads and writes encrypted Parquet by PyArrow.

``parquet_peer.py read|write FILE KEYS``, where KEYS is a folder of master keys, in plaintext.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa

from cloister.parquet import MasterKeys


class FolderKeys:
    """Stands in for the key service: master keys are as the folder has them."""

    def generate_data_key(self, key, *, context=None):
        raise NotImplementedError

    def decrypt(self, ciphertext, *, key=None, context=None):
        return ciphertext


def main(act: str, file: str, folder: str) -> None:
    keys = MasterKeys(
        FolderKeys(), "key", {f"keys/{path.name}": path.read_bytes() for path in Path(folder).iterdir()}
    )
    if act == "read":
        table = keys.read_table(file).sort_by("id")
        print(json.dumps(table.to_pylist()))
        return
    ids = list(range(3000))
    table = pa.table(
        {"id": ids, "name": [f"name-{i}" for i in ids], "city": [str(i % 3) for i in ids]}
    )
    keys.write_table(table, file, "keys/footer", {"keys/name": ["name"]})


main(*sys.argv[1:])
