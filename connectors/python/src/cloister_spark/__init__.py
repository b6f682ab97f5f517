"""Apache Spark on sealed datasets, by the names of the older stack.

>>> from cloister_spark import PPMLContext
>>> sc = PPMLContext("SimpleQuery")  # doctest: +SKIP
>>> people = sc.read("sealed").option("header", True).csv("/in/people")  # doctest: +SKIP
>>> sc.write(people.filter("age > 20"), "sealed").mode("overwrite").csv("/out/result")  # doctest: +SKIP
"""

from .context import DatasetReader, DatasetWriter, PPMLContext
from .modes import CryptoMode

__all__ = ["CryptoMode", "DatasetReader", "DatasetWriter", "PPMLContext"]
