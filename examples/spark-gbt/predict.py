"""predict.py LOANS TRAINED RESULT: what the trees that gbt.py grew say of loans."""

import sys

from pyspark.ml import PipelineModel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import SparkSession

source, trained, result = sys.argv[1:]
spark = SparkSession.builder.appName("Predict").getOrCreate()

model = PipelineModel.load(f"{trained}/model")
features = model.stages[0].getInputCols()
columns = ", ".join(f"{name} DOUBLE" for name in [*features, "late"])
loans = spark.read.csv(source, header=True, schema=columns)
model.transform(loans).withColumn("probable", vector_to_array("probability")[1]).select(
    *features, "late", "prediction", "probable"
).write.csv(result, header=True, mode="overwrite")
spark.stop()
