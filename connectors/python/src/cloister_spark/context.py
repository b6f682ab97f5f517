"""``PPMLContext``: what Spark jobs of the older stack begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Mapping, Optional, Sequence, Tuple, Union

from .job import Dataset, job_datasets
from .modes import CryptoMode, located
from .primary_keys import PrimaryKeys

if TYPE_CHECKING:
    from pyspark import RDD, SparkConf
    from pyspark.sql import DataFrame, DataFrameReader, DataFrameWriter, SparkSession
    from pyspark.sql.types import StructType

_COMMIT_PROTOCOL = (
    "spark.sql.sources.commitProtocolClass",
    "io.cloister.spark.commit.SealedCommitProtocol",
)
_CRYPTO_FACTORY = ("parquet.crypto.factory.class", "io.cloister.spark.parquet.ModularCryptoFactory")

_NO_CONNECTOR = (
    "PPMLContext: wanted the connector's jar, cloister-spark-0.1.0.jar, in Spark's folder jars, seen none: "
    "`mvn package` in connectors/spark makes it; docs/spark.md says what else an image has"
)

OptionValue = Union[str, bool, int, float, None]
Mode = Union[str, CryptoMode]


class PPMLContext:
    """Reads and writes the job's sealed datasets, and other files, by Spark.

    :param app_name: as Spark shows it.
    :param ppml_args: ``primary_key_material``, a master key of Parquet as ``INPUT/FILE``. What named key
        services and accounts is refused.
    :param spark_conf: Spark's configuration. Of the older stack's keys those that name master keys are
        taken, ``spark.bigdl.primaryKey.NAME.material`` and ``spark.bigdl.kms.key.primary``, both as
        ``INPUT/FILE``; others (``spark.bigdl.…``) are refused.
    """

    def __init__(
        self,
        app_name: str,
        ppml_args: Optional[Mapping[str, str]] = None,
        spark_conf: Optional[SparkConf] = None,
    ) -> None:
        arguments = ppml_args or {}
        PrimaryKeys.parse(arguments, ())
        from pyspark import SparkConf
        from pyspark.sql import SparkSession

        conf = spark_conf or SparkConf()
        PrimaryKeys.parse(arguments, conf.getAll())
        conf.set(*_COMMIT_PROTOCOL)
        self.spark: SparkSession = (
            SparkSession.builder.appName(app_name).config(conf=conf).getOrCreate()
        )
        # What spark-defaults.conf says, and a session that was there before, Spark alone knows.
        of_session = self.spark.sparkContext.getConf().getAll()
        self._keys = PrimaryKeys.parse(arguments, {**dict(of_session), **dict(conf.getAll())}.items())
        # A session that was there before keeps its own configuration otherwise.
        try:
            self.spark.conf.set(*_COMMIT_PROTOCOL)
        except Exception as error:
            if _COMMIT_PROTOCOL[1] not in str(error):
                raise
            # Spark says what it does not find, and not where that would come from.
            raise RuntimeError(_NO_CONNECTOR) from None
        self._datasets = job_datasets()

    def read(self, crypto_mode: Mode = "sealed", primary_key_name: str = "") -> DatasetReader:
        """Reads what lies at a path: see :class:`DatasetReader`."""
        mode, options = self._mode(crypto_mode, primary_key_name)
        reader = DatasetReader(self.spark.read, mode, self._datasets)
        for name, value in options.items():
            reader.option(name, value)
        return reader

    def write(
        self, dataframe: DataFrame, crypto_mode: Mode = "sealed", primary_key_name: str = ""
    ) -> DatasetWriter:
        """Writes a data frame to a path: see :class:`DatasetWriter`."""
        mode, options = self._mode(crypto_mode, primary_key_name)
        if mode.is_modular:
            options["parquet.encryption.algorithm"] = mode.value
        writer = DatasetWriter(dataframe.write, mode, self._datasets)
        for name, value in options.items():
            writer.option(name, value)
        return writer

    def textfile(
        self,
        path: str,
        min_partitions: Optional[int] = None,
        crypto_mode: Mode = "sealed",
        primary_key_name: str = "",
    ) -> RDD[str]:
        """The lines of text files."""
        mode, _ = self._mode(crypto_mode, primary_key_name)
        _require_format(mode, "text")
        if "," in path:
            raise ValueError(f"path: Spark would take {path!r} for several")
        place = located(path, mode, self._datasets)
        return self.spark.sparkContext.textFile(place, min_partitions)

    def sql(self, sql_text: str) -> DataFrame:
        """What a query gives, over the session's views and tables."""
        return self.spark.sql(sql_text)

    def _mode(self, crypto_mode: Mode, primary_key_name: str) -> Tuple[CryptoMode, Dict[str, str]]:
        """The mode, and what Parquet is told of it."""
        mode = CryptoMode.parse(crypto_mode)
        if not mode.is_modular:
            if primary_key_name != "":
                raise ValueError(
                    f"primary_key_name: the job says each dataset's key; seen {primary_key_name!r}"
                )
            return mode, {}
        options = dict([_CRYPTO_FACTORY])
        key = self._keys.resolve(primary_key_name)
        if key != "":
            options["parquet.encryption.footer.key"] = key
        return mode, options


class DatasetReader:
    """Spark's reader, which takes a path by its mode."""

    def __init__(
        self, reader: DataFrameReader, mode: CryptoMode, datasets: Sequence[Dataset]
    ) -> None:
        self._reader = reader
        self._mode = mode
        self._datasets = datasets

    def option(self, key: str, value: OptionValue) -> DatasetReader:
        """An option of the format."""
        self._reader = self._reader.option(key, value)
        return self

    def schema(self, value: Union[StructType, str]) -> DatasetReader:
        """The columns, which are not looked for then."""
        self._reader = self._reader.schema(value)
        return self

    def csv(self, path: str) -> DataFrame:
        return self._reader.csv(self._located(path, "csv"))

    def json(self, path: str) -> DataFrame:
        return self._reader.json(self._located(path, "json"))

    def parquet(self, path: str) -> DataFrame:
        return self._reader.parquet(self._located(path, "parquet"))

    def orc(self, path: str) -> DataFrame:
        return self._reader.orc(self._located(path, "orc"))

    def text(self, path: str) -> DataFrame:
        return self._reader.text(self._located(path, "text"))

    def _located(self, path: str, file_format: str) -> str:
        _require_format(self._mode, file_format)
        return located(path, self._mode, self._datasets)


class DatasetWriter:
    """Spark's writer, which takes a path by its mode."""

    def __init__(
        self, writer: DataFrameWriter, mode: CryptoMode, datasets: Sequence[Dataset]
    ) -> None:
        self._writer = writer
        self._mode = mode
        self._datasets = datasets

    def option(self, key: str, value: OptionValue) -> DatasetWriter:
        """An option of the format."""
        self._writer = self._writer.option(key, value)
        return self

    def mode(self, save_mode: str) -> DatasetWriter:
        """What becomes of what this program has written there before."""
        self._writer = self._writer.mode(save_mode)
        return self

    def partitionBy(self, *columns: str) -> DatasetWriter:  # noqa: N802 (Spark's name)
        """Columns whose values become folders."""
        self._writer = self._writer.partitionBy(*columns)
        return self

    def csv(self, path: str) -> None:
        self._writer.csv(self._located(path, "csv"))

    def json(self, path: str) -> None:
        self._writer.json(self._located(path, "json"))

    def parquet(self, path: str) -> None:
        self._writer.parquet(self._located(path, "parquet"))

    def orc(self, path: str) -> None:
        self._writer.orc(self._located(path, "orc"))

    def text(self, path: str) -> None:
        self._writer.text(self._located(path, "text"))

    def _located(self, path: str, file_format: str) -> str:
        _require_format(self._mode, file_format)
        return located(path, self._mode, self._datasets)


def _require_format(mode: CryptoMode, seen: str) -> None:
    if mode.is_modular and seen != "parquet":
        raise ValueError(f"crypto_mode {mode.value}: wanted parquet, seen {seen}")
