"""tpch.py DATA RESULT [QUERY...]: TPC-H's queries over eight tables of Parquet, each into a folder.

Prints how long the session took to start, and each query: it is read by the benchmark.
"""

import re
import sys
from pathlib import Path
from time import perf_counter

from pyspark.sql import SparkSession

TABLES = "customer lineitem nation orders part partsupp region supplier".split()
QUERIES = re.split(r"^-- (\d+)\n", Path(__file__).with_name("queries.sql").read_text(), flags=re.M)

data, result, *asked = sys.argv[1:]


def timed(name, work):
    begun = perf_counter()
    outcome = work()
    print(f"{name}: {perf_counter() - begun:.3f} s", flush=True)
    return outcome


spark = timed("start", SparkSession.builder.appName("TPC-H").getOrCreate)
for table in TABLES:
    spark.read.parquet(f"{data}/{table}").createOrReplaceTempView(table)
for number, text in zip(QUERIES[1::2], QUERIES[2::2]):
    if not asked or number in asked:
        folder = f"{result}/q{int(number):02}"
        query = spark.sql(text.strip().rstrip(";"))
        timed(f"query {number}", lambda: query.write.csv(folder, "overwrite", header=True, nullValue="NULL"))
spark.stop()
