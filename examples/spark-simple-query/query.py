"""query.py PEOPLE RESULT: who develops at what age, and how many work at what."""

import sys

from pyspark.sql import SparkSession

people, result = sys.argv[1:]
spark = SparkSession.builder.appName("SimpleQuery").getOrCreate()

table = spark.read.csv(people, header=True)
developers = table.filter((table.job == "Developer") & table.age.between(20, 40))
developers.write.csv(f"{result}/developers", header=True, mode="overwrite")

jobs = table.groupBy("job").count().orderBy("job")
jobs.write.json(f"{result}/jobs", mode="overwrite")
print("finished:", spark.version)
spark.stop()
