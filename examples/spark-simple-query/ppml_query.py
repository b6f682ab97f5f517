"""ppml_query.py PEOPLE RESULT: the same as query.py, by the names of the older stack."""

import sys

from cloister_spark import PPMLContext

people, result = sys.argv[1:]
sc = PPMLContext("SimpleQuery")

table = sc.read("sealed").option("header", True).csv(people)
developers = table.filter((table.job == "Developer") & table.age.between(20, 40))
sc.write(developers).option("header", True).mode("overwrite").csv(f"{result}/developers")

table.createOrReplaceTempView("people")
jobs = sc.sql("SELECT job, count(*) AS count FROM people GROUP BY job ORDER BY job")
sc.write(jobs).mode("overwrite").json(f"{result}/jobs")
print("lines:", sc.textfile(people).count())
sc.spark.stop()
