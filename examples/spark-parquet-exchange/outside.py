"""The owner's side, by PyArrow: ``outside.py write|read HOME FILE…``, under an open key `exchange`."""

import sys
from pathlib import Path

import pyarrow as pa
from cloister import KmsClient, Pin
from cloister.parquet import MasterKeys

KEY = "alias/exchange"
NAMES = [f"name-{i}" for i in range(10_000)]
STAFF = pa.table({"name": NAMES, "salary": [1000.0 + i for i in range(10_000)]})


def write(kms: KmsClient, file: str, keys_file: str, plaintext_keys: str) -> None:
    keys = MasterKeys.create(kms, KEY, ["keys/footer", "keys/salary"])
    keys.save(keys_file)
    keys.write_plaintext("keys", plaintext_keys)
    keys.write_table(STAFF, file, "keys/footer", {"keys/salary": ["salary"]})


def read(kms: KmsClient, keys_file: str, *files: str) -> None:
    keys = MasterKeys.load(kms, KEY, keys_file)
    table = pa.concat_tables([keys.read_table(file) for file in files])
    wanted = {name: salary + salary / 10 for name, salary in zip(NAMES, STAFF["salary"].to_pylist())}
    seen = dict(zip(table["name"].to_pylist(), table["salary"].to_pylist()))
    if seen != wanted or table.num_rows != len(NAMES):
        sys.exit("the result is another")


act, home, *files = sys.argv[1:]
credential = (Path(home) / "credential").read_text().strip()
with KmsClient(Pin.load(Path(home) / "kms.json"), credential) as client:
    {"write": write, "read": read}[act](client, *files)
