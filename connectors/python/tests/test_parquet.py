"""Parquet modular encryption by PyArrow, under master keys of a real key service."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from cloister import KmsError
from cloister.parquet import MasterKeys

from .world import owner

NAMES = ["keys/footer", "keys/salary"]
TABLE = pa.table({"name": ["Ada", "Grace"], "city": ["London", "New York"], "salary": [1815, 1906]})


class MasterKeysTest(unittest.TestCase):
    def setUp(self) -> None:
        self.kms = owner()
        self.addCleanup(self.kms.close)
        self.key = self.kms.create_key(mode="open").key_id
        self.keys = MasterKeys.create(self.kms, self.key, NAMES)
        self.folder = Path(tempfile.mkdtemp())
        self.file = self.folder / "people.parquet"

    def test_read_what_they_wrote(self) -> None:
        self.keys.save(self.folder / "keys.json")
        again = MasterKeys.load(self.kms, self.key, self.folder / "keys.json")
        for column_keys in [None, {"keys/salary": ["salary"]}]:
            self.keys.write_table(TABLE, self.file, "keys/footer", column_keys)
            self.assertNotIn(b"London", self.file.read_bytes())
            self.assertNotIn(b"salary\0", self.file.read_bytes())
            self.assertEqual(again.read_table(self.file), TABLE)

    def test_open_the_columns_whose_keys_are_there(self) -> None:
        self.keys.write_table(TABLE, self.file, "keys/footer", {"keys/salary": ["salary"]})
        self.keys.save(self.folder / "keys.json")
        saved = (self.folder / "keys.json").read_text().replace("keys/salary", "keys/other")
        (self.folder / "fewer.json").write_text(saved)
        fewer = MasterKeys.load(self.kms, self.key, self.folder / "fewer.json")
        self.assertEqual(fewer.read_table(self.file, ["name", "city"]).num_rows, 2)
        with self.assertRaisesRegex(Exception, "keys/salary"):
            fewer.read_table(self.file)

    def test_are_never_of_an_attested_only_key(self) -> None:
        attested_only = self.kms.create_key().key_id
        with self.assertRaises(KmsError) as caught:
            MasterKeys.create(self.kms, attested_only, NAMES)
        self.assertEqual(caught.exception.code, "KEY_ATTESTED_ONLY")

    def test_hold_their_names(self) -> None:
        wrapped = self.keys.wrap(b"x" * 32, "keys/footer")
        self.assertEqual(self.keys.unwrap(wrapped, "keys/footer"), b"x" * 32)
        with self.assertRaisesRegex(ValueError, "does not open"):
            self.keys.unwrap(wrapped, "keys/salary")
        self.keys.save(self.folder / "keys.json")
        text = json.loads((self.folder / "keys.json").read_text())
        text["keys"]["keys/footer"] = text["keys"]["keys/salary"]
        (self.folder / "swapped.json").write_text(json.dumps(text))
        with self.assertRaises(KmsError):
            MasterKeys.load(self.kms, self.key, self.folder / "swapped.json").wrap(b"", "keys/footer")
        with self.assertRaisesRegex(ValueError, "INPUT/FILE"):
            MasterKeys.create(self.kms, self.key, ["footer"])

    def test_take_no_file_that_is_not_authenticated(self) -> None:
        pq.write_table(TABLE, self.file)
        with self.assertRaisesRegex(ValueError, "wanted Parquet with an encrypted footer"):
            self.keys.read_table(self.file)
        factory = pe.CryptoFactory(lambda _config: _client_of(self.keys))
        column_keys = {"keys/footer": TABLE.schema.names}
        for options, wanted in [
            ({"encryption_algorithm": "AES_GCM_CTR_V1"}, "wanted AES_GCM_V1"),
            ({"plaintext_footer": True}, "wanted Parquet with an encrypted footer"),
        ]:
            config = pe.EncryptionConfiguration("keys/footer", column_keys=column_keys, **options)
            properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
            pq.write_table(TABLE, self.file, encryption_properties=properties)
            with self.assertRaisesRegex(ValueError, wanted):
                self.keys.read_table(self.file)

    def test_refuse_a_page_that_was_altered(self) -> None:
        self.keys.write_table(TABLE, self.file, "keys/footer")
        altered = bytearray(self.file.read_bytes())
        altered[60] ^= 1
        self.file.write_bytes(altered)
        with self.assertRaises(OSError):
            self.keys.read_table(self.file)

    def test_leave_no_column_in_plaintext(self) -> None:
        nested = pa.table({"a": [[1]], "b": [2]})
        with self.assertRaisesRegex(ValueError, "not nested"):
            self.keys.write_table(nested, self.file, "keys/footer", {"keys/salary": ["b"]})
        for columns in [["salry"], ["salary", "salary"]]:
            with self.assertRaisesRegex(ValueError, "each once"):
                self.keys.write_table(TABLE, self.file, "keys/footer", {"keys/salary": columns})

    def test_are_written_for_an_input_that_has_some(self) -> None:
        with self.assertRaisesRegex(ValueError, "input: wanted one of .*keys/footer.*seen 'key'"):
            self.keys.write_plaintext("key", self.folder / "plain")
        self.assertFalse((self.folder / "plain").exists())

    def test_are_written_in_plaintext_once_and_privately(self) -> None:
        self.keys.write_plaintext("keys", self.folder / "plain")
        written = {file.name: file for file in (self.folder / "plain").iterdir()}
        self.assertEqual(set(written), {"footer", "salary"})
        for file in written.values():
            self.assertEqual((file.stat().st_size, file.stat().st_mode & 0o777), (32, 0o600))
        with self.assertRaises(FileExistsError):
            self.keys.write_plaintext("keys", self.folder / "plain")


def _client_of(keys: MasterKeys) -> pe.KmsClient:
    class Client(pe.KmsClient):
        def wrap_key(self, key_bytes, master_key_identifier):
            return keys.wrap(key_bytes, master_key_identifier)

        def unwrap_key(self, wrapped_key, master_key_identifier):
            return keys.unwrap(wrapped_key, master_key_identifier)

    return Client()


if __name__ == "__main__":
    unittest.main()
