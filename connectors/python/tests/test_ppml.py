"""What is refused before Spark is asked; examples/spark-simple-query tries the rest, with Spark."""

from __future__ import annotations

import json
import sys
import tempfile
import unittest
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, List, Mapping, Tuple
from unittest import mock

from cloister_spark import PPMLContext
from cloister_spark.job import Dataset, job_datasets
from cloister_spark.modes import CryptoMode, located
from cloister_spark.primary_keys import PrimaryKeys

from .false_broker import answering

SEALED, PLAIN = CryptoMode.SEALED, CryptoMode.PLAIN_TEXT
JOB = (
    Dataset("input", "people", "/in/people"),
    Dataset("output", "result", "s3a://bucket/result"),
)


class ModesTest(unittest.TestCase):
    def test_are_known_by_their_names(self) -> None:
        self.assertIs(CryptoMode.parse("sealed"), SEALED)
        self.assertIs(CryptoMode.parse("PLAIN_TEXT"), PLAIN)
        self.assertIs(CryptoMode.parse("aes_gcm_v1"), CryptoMode.AES_GCM_V1)
        with self.assertRaisesRegex(ValueError, "encrypt FILE.cbc .* --unauthenticated-cbc DATA_KEY"):
            CryptoMode.parse("AES/CBC/PKCS5Padding")
        # As programs of the older stack write it.
        self.assertIs(CryptoMode.parse(CryptoMode.PLAIN_TEXT), PLAIN)
        with self.assertRaisesRegex(ValueError, "encrypt FILE.cbc .* --unauthenticated-cbc DATA_KEY"):
            CryptoMode.parse(CryptoMode.AES_CBC_PKCS5PADDING)
        for other in ["", "AES_CBC", "plain"]:
            with self.assertRaisesRegex(ValueError, "wanted sealed or plain_text"):
                CryptoMode.parse(other)

    def test_give_paths_their_schemes(self) -> None:
        for path, mode, wanted in [
            ("/in/people", SEALED, "sealed+file:/in/people"),
            ("file:/in/people", SEALED, "sealed+file:/in/people"),
            ("s3a://bucket/x y", SEALED, "sealed+s3a://bucket/x y"),
            ("sealed+hdfs://host/x", SEALED, "sealed+hdfs://host/x"),
            ("/tmp/x", PLAIN, "file:/tmp/x"),
            ("hdfs://host/in/people", PLAIN, "hdfs://host/in/people"),
            ("/in/people2", PLAIN, "file:/in/people2"),
        ]:
            self.assertEqual(located(path, mode, JOB), wanted)

    def test_never_take_what_is_sealed_for_plain_text(self) -> None:
        for path in [
            "/in/people",
            "/in/people/",
            "/in/people/part-00000-00.sealed",
            "/in",
            "/",
            "/in/../in/./people",
            "//in//people",
            "/in/other/../people/x",
            "file:///in/people",
            "file:/in/people",
            "FILE:/in/people",
            "/in/peo*",
            "/*/people/x",
            "/in/{people,other}",
            "/in/peopl?/x",
            "/in/\\people",
            "s3a://bucket/result/x",
            "sealed+file:/tmp/x",
        ]:
            with self.assertRaisesRegex(ValueError, "wanted crypto_mode sealed"):
                located(path, PLAIN, JOB)

    def test_follow_links_to_what_is_sealed(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            people, link = Path(folder) / "people", Path(folder) / "link"
            people.mkdir()
            link.symlink_to(people)
            job = (Dataset("input", "people", str(people)),)
            for path in [f"{link}", f"file:{link}/x", f"{link}/*", f"/proc/self/root{people}"]:
                with self.assertRaisesRegex(ValueError, "wanted crypto_mode sealed"):
                    located(path, PLAIN, job)

    def test_take_no_relative_path(self) -> None:
        for mode in CryptoMode:
            with self.assertRaisesRegex(ValueError, "wanted an absolute one"):
                located("people", mode, JOB)


class ContextTest(unittest.TestCase):
    def test_takes_no_keys(self) -> None:
        with self.assertRaisesRegex(ValueError, "ppml_args: .*by attestation.*kms_type, api_key$"):
            PPMLContext("x", {"kms_type": "EHSMKeyManagementService", "api_key": "secret"})
        for name in [
            "spark.bigdl.kms.type",
            "spark.bigdl.kms.ehs.key",
            "spark.bigdl.primaryKey.AmyPK.kms.apiKey",
            "spark.bigdl.primaryKey.AmyPK.plainText",
            "spark.hadoop.bigdl.write.dataKey.plainText",
            "spark.hadoop.parquet.encryption.key.list",
        ]:
            with self.assertRaisesRegex(ValueError, f"by attestation.*seen {name}$"):
                PrimaryKeys.parse({}, [(name, "secret")])
        with self.assertRaisesRegex(ValueError, "primary_key_material: .*seen something else$"):
            PPMLContext("x", {"primary_key_material": None})  # type: ignore[dict-item]
        for what, value in [
            ("spark.bigdl.primaryKey.AmyPK.material", "c2VjcmV0"),
            ("spark.bigdl.kms.key.primary", "/ppml/data/primary"),
        ]:
            with self.assertRaisesRegex(ValueError, f"{what}: .*seen something else$"):
                PrimaryKeys.parse({}, [(what, value)])

    def test_takes_no_keys_that_spark_was_told_of_elsewhere(self) -> None:
        secret = "spark.bigdl.primaryKey.AmyPK.plainText"
        with _spark({secret: "secret"}), self.assertRaisesRegex(ValueError, f"seen {secret}$"):
            PPMLContext("x")
        amy = "spark.bigdl.primaryKey.AmyPK.material"
        with _spark({amy: "keys/other", "spark.bigdl.primaryKey.BobPK.material": "keys/bob"}):
            context = PPMLContext("x", spark_conf=_Conf({amy: "keys/amy"}))  # type: ignore[arg-type]
        self.assertEqual(context._keys.resolve("AmyPK"), "keys/amy")
        self.assertEqual(context._keys.resolve("BobPK"), "keys/bob")

    def test_says_what_spark_lacks(self) -> None:
        def absent(_name: str, value: str) -> None:
            raise LookupError(f"The value '{value}' is invalid. Class must be loadable")

        with _spark({}) as modules:
            modules["pyspark.sql"].SparkSession.builder.getOrCreate().conf.set = absent
            with self.assertRaisesRegex(RuntimeError, "connector's jar, .*seen none.*mvn package"):
                PPMLContext("x")

    def test_takes_names_of_master_keys(self) -> None:
        two = PrimaryKeys.parse(
            {},
            [
                ("spark.bigdl.primaryKey.AmyPK.material", "keys/amy"),
                ("spark.bigdl.primaryKey.BobPK.material", "bob/pk"),
                ("spark.app.name", "x"),
            ],
        )
        self.assertEqual((two.resolve("AmyPK"), two.resolve("BobPK")), ("keys/amy", "bob/pk"))
        self.assertEqual(two.resolve("keys/other"), "keys/other")
        with self.assertRaisesRegex(ValueError, "wanted one of .*AmyPK.*BobPK.*, seen none"):
            two.resolve("")
        with self.assertRaisesRegex(ValueError, "wanted AmyPK or BobPK or INPUT/FILE, seen 'EvePK'"):
            two.resolve("EvePK")
        for one in [
            PrimaryKeys.parse({"primary_key_material": "keys/footer"}, ()),
            PrimaryKeys.parse({}, [("spark.bigdl.kms.key.primary", "keys/footer")]),
        ]:
            self.assertEqual((one.resolve(""), one.resolve("defaultKey")), ("keys/footer",) * 2)
        self.assertEqual(PrimaryKeys({}).resolve(""), "")

    def test_tells_parquet_the_mode_and_the_key(self) -> None:
        context = _context(PrimaryKeys({"AmyPK": "keys/amy"}))
        factory = {"parquet.crypto.factory.class": "io.cloister.spark.parquet.ModularCryptoFactory"}
        key = {"parquet.encryption.footer.key": "keys/amy"}
        context.read("AES_GCM_V1", "AmyPK").parquet("/in/people")
        self.assertEqual(
            context.spark.read.calls, [(factory | key, "parquet", "sealed+file:/in/people")]
        )
        frame = _Recorder.of_frame()
        context.write(frame, CryptoMode.AES_GCM_CTR_V1).parquet("/out/result")
        algorithm = {"parquet.encryption.algorithm": "AES_GCM_CTR_V1"}
        self.assertEqual(
            frame.write.calls, [(factory | key | algorithm, "parquet", "sealed+file:/out/result")]
        )

    def test_has_parquet_alone_encrypted_by_parquet(self) -> None:
        context = _context(PrimaryKeys({}))
        for act in (
            lambda: context.read("AES_GCM_V1").csv("/in/people"),
            lambda: context.write(_Recorder.of_frame(), "AES_GCM_V1").json("/out/result"),
            lambda: context.textfile("/in/people", crypto_mode="AES_GCM_V1"),
        ):
            with self.assertRaisesRegex(ValueError, "AES_GCM_V1: wanted parquet"):
                act()

    def test_names_no_keys(self) -> None:
        context = PPMLContext.__new__(PPMLContext)
        for act in (
            lambda: context.read("sealed", "AmyPK"),
            lambda: context.write(None, "sealed", "AmyPK"),
            lambda: context.textfile("/in/people", primary_key_name="AmyPK"),
        ):
            with self.assertRaisesRegex(ValueError, "primary_key_name: .*seen 'AmyPK'"):
                act()

    def test_reads_one_path_as_text(self) -> None:
        context = PPMLContext.__new__(PPMLContext)
        with self.assertRaisesRegex(ValueError, "several"):
            context.textfile("/in/people,/tmp/x")


class JobTest(unittest.TestCase):
    def test_is_what_the_broker_tells(self) -> None:
        reply = {
            "version": 1,
            "inputs": [{"name": "people", "folder": "/in/people"}],
            "outputs": [{"name": "result", "folder": "s3a://bucket/result"}],
        }
        self.assertEqual(job_datasets(_broker({"ok": reply})), JOB)

    def test_is_an_error_when_the_broker_says_so_or_goes(self) -> None:
        for reply in [{"error": {"code": "MALFORMED", "message": "no"}}, None]:
            with self.assertRaises(ConnectionError):
                job_datasets(_broker(reply))

    def test_is_nothing_outside_of_an_instance(self) -> None:
        self.assertEqual(job_datasets(), ())


class _Recorder:
    """What of Spark's readers and writers is called."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.calls: list[Any] = []

    @staticmethod
    def of_frame() -> Any:
        return SimpleNamespace(write=_Recorder())

    def option(self, key: str, value: Any) -> _Recorder:
        self.options[key] = value
        return self

    def parquet(self, path: str) -> None:
        self.calls.append((self.options, "parquet", path))

    csv = json = parquet


class _Conf:
    """Spark's configuration, as far as it is asked here."""

    def __init__(self, settings: Mapping[str, str] = {}) -> None:
        self._settings = dict(settings)

    def set(self, name: str, value: str) -> None:
        self._settings[name] = value

    def getAll(self) -> List[Tuple[str, str]]:  # noqa: N802 (Spark's name)
        return list(self._settings.items())


def _spark(settings: Mapping[str, str]) -> Any:
    """A pyspark whose session has settings that no program gave it."""
    session = SimpleNamespace(conf=_Conf(), sparkContext=SimpleNamespace(getConf=lambda: _Conf(settings)))
    builder: Any = SimpleNamespace(getOrCreate=lambda: session)
    builder.appName = builder.config = lambda *_args, **_named: builder
    sql: Any = ModuleType("pyspark.sql")
    sql.SparkSession = SimpleNamespace(builder=builder)
    pyspark: Any = ModuleType("pyspark")
    pyspark.SparkConf, pyspark.sql = _Conf, sql
    return mock.patch.dict(sys.modules, {"pyspark": pyspark, "pyspark.sql": sql})


def _context(keys: PrimaryKeys) -> Any:
    context: Any = PPMLContext.__new__(PPMLContext)
    context.spark = SimpleNamespace(read=_Recorder())
    context._keys, context._datasets = keys, ()
    return context


def _broker(reply: Any) -> str:
    return answering(None if reply is None else json.dumps(reply).encode())


if __name__ == "__main__":
    unittest.main()
