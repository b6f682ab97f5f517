"""query.py PEOPLE RESULT: pairs of one age and job, and how many there are; in many tasks."""

import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, udf

people, result = sys.argv[1:]
spark = SparkSession.builder.appName("Executors").getOrCreate()

# Read, shuffled, sorted and written by tasks wherever there are processors for them.
table = spark.read.csv(people, header=True).repartition(8, "name")
others = table.withColumnRenamed("name", "other")
pairs = table.join(others, on=["age", "job"]).where("name < other")
counts = pairs.groupBy("age", "job").count().orderBy("age", "job")

# Python's functions run beside each executor.
shout = udf(lambda job: job.upper())
counts.withColumn("job", shout(col("job"))).write.csv(f"{result}/pairs", mode="overwrite")
table.write.partitionBy("job").parquet(f"{result}/people", mode="overwrite")
print("finished:", spark.version, "master", spark.sparkContext.master)
spark.stop()
