"""``PPMLContext``: what Spark jobs of the older stack begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence, Union

from .job import Dataset, job_datasets
from .modes import CryptoMode, located

if TYPE_CHECKING:
    from pyspark import RDD, SparkConf
    from pyspark.sql import DataFrame, DataFrameReader, DataFrameWriter, SparkSession
    from pyspark.sql.types import StructType

_COMMIT_PROTOCOL = (
    "spark.sql.sources.commitProtocolClass",
    "io.cloister.spark.commit.SealedCommitProtocol",
)
_KEYS = "the job's keys come from the key service, by attestation, and the job says which"

OptionValue = Union[str, bool, int, float, None]


class PPMLContext:
    """Reads and writes the job's sealed datasets, and other files, by Spark.

    :param app_name: as Spark shows it.
    :param ppml_args: none: it named key services, accounts and keys. What is in it is refused.
    :param spark_conf: Spark's configuration; keys of the older stack's (``spark.bigdl.…``) are refused.
    """

    def __init__(
        self,
        app_name: str,
        ppml_args: Optional[Mapping[str, str]] = None,
        spark_conf: Optional[SparkConf] = None,
    ) -> None:
        _refuse("ppml_args", list(ppml_args or {}))
        from pyspark import SparkConf
        from pyspark.sql import SparkSession

        conf = spark_conf or SparkConf()
        of_keys = [key for key, _ in conf.getAll() if key.startswith("spark.bigdl.")]
        _refuse("spark_conf", of_keys)
        conf.set(*_COMMIT_PROTOCOL)
        self.spark: SparkSession = (
            SparkSession.builder.appName(app_name).config(conf=conf).getOrCreate()
        )
        # A session that was there before keeps its own configuration otherwise.
        self.spark.conf.set(*_COMMIT_PROTOCOL)
        self._datasets = job_datasets()

    def read(self, crypto_mode: str = "sealed", primary_key_name: str = "") -> DatasetReader:
        """Reads what lies at a path: see :class:`DatasetReader`."""
        mode = _mode(crypto_mode, primary_key_name)
        return DatasetReader(self.spark.read, mode, self._datasets)

    def write(
        self, dataframe: DataFrame, crypto_mode: str = "sealed", primary_key_name: str = ""
    ) -> DatasetWriter:
        """Writes a data frame to a path: see :class:`DatasetWriter`."""
        mode = _mode(crypto_mode, primary_key_name)
        return DatasetWriter(dataframe.write, mode, self._datasets)

    def textfile(
        self,
        path: str,
        min_partitions: Optional[int] = None,
        crypto_mode: str = "sealed",
        primary_key_name: str = "",
    ) -> RDD[str]:
        """The lines of text files."""
        mode = _mode(crypto_mode, primary_key_name)
        if "," in path:
            raise ValueError(f"path: Spark would take {path!r} for several")
        place = located(path, mode, self._datasets)
        return self.spark.sparkContext.textFile(place, min_partitions)

    def sql(self, sql_text: str) -> DataFrame:
        """What a query gives, over the session's views and tables."""
        return self.spark.sql(sql_text)


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
        return self._reader.csv(self._located(path))

    def json(self, path: str) -> DataFrame:
        return self._reader.json(self._located(path))

    def parquet(self, path: str) -> DataFrame:
        return self._reader.parquet(self._located(path))

    def orc(self, path: str) -> DataFrame:
        return self._reader.orc(self._located(path))

    def text(self, path: str) -> DataFrame:
        return self._reader.text(self._located(path))

    def _located(self, path: str) -> str:
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
        self._writer.csv(self._located(path))

    def json(self, path: str) -> None:
        self._writer.json(self._located(path))

    def parquet(self, path: str) -> None:
        self._writer.parquet(self._located(path))

    def orc(self, path: str) -> None:
        self._writer.orc(self._located(path))

    def text(self, path: str) -> None:
        self._writer.text(self._located(path))

    def _located(self, path: str) -> str:
        return located(path, self._mode, self._datasets)


def _mode(crypto_mode: str, primary_key_name: str) -> CryptoMode:
    if primary_key_name != "":
        raise ValueError(f"primary_key_name: {_KEYS}; seen {primary_key_name!r}")
    return CryptoMode.parse(crypto_mode)


def _refuse(what: str, seen: Sequence[Any]) -> None:
    if seen:
        raise ValueError(f"{what}: {_KEYS}; seen {', '.join(map(str, seen))}")
