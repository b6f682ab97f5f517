"""together.py AMY BOB UNION JOIN: what two parties' people make, together."""

import sys

from pyspark.sql import SparkSession

amy, bob, union, join = sys.argv[1:]
spark = SparkSession.builder.appName("TwoParties").getOrCreate()

ours = spark.read.csv(amy, header=True)
theirs = spark.read.csv(bob, header=True)
ours.union(theirs).write.csv(union, header=True, mode="overwrite")

pairs = ours.join(theirs.withColumnRenamed("name", "other"), on=["age", "job"])
pairs.write.partitionBy("job").csv(join, header=True, mode="overwrite")
spark.stop()
