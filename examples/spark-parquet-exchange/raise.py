"""raise.py STAFF RESULT: everybody gets a tenth more. Parquet that PyArrow encrypted, and will read."""

import sys

from cloister_spark import PPMLContext

staff, result = sys.argv[1:]
sc = PPMLContext("Raise", {"primary_key_material": "keys/footer"})

# PyArrow's key tools write no AAD prefix.
reader = sc.read("AES_GCM_V1").option("cloister.parquet.allow.no.aad.prefix", True)
table = reader.parquet(staff)
raised = table.withColumn("salary", table.salary + table.salary / 10)

writer = sc.write(raised, "AES_GCM_V1").option("parquet.encryption.column.keys", "keys/salary:salary")
writer.mode("overwrite").parquet(result)
sc.spark.stop()
