"""gbt.py LOANS RESULT: gradient-boosted trees by Spark ML; the model, its trees, its predictions."""

import sys

from pyspark.ml import Pipeline
from pyspark.ml.classification import GBTClassifier
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import SparkSession

FEATURES = ["income", "amount", "years", "age", "defaults"]

source, result = sys.argv[1:]
spark = SparkSession.builder.appName("GBT").getOrCreate()

columns = ", ".join(f"{name} DOUBLE" for name in [*FEATURES, "late"])
loans = spark.read.csv(source, header=True, schema=columns).cache()
train, test = loans.randomSplit([0.8, 0.2], seed=7)
assembler = VectorAssembler(inputCols=FEATURES, outputCol="features")
trees = GBTClassifier(labelCol="late", maxIter=10, maxDepth=4, seed=7)
model = Pipeline(stages=[assembler, trees]).fit(train)
model.write().overwrite().save(f"{result}/model")

# The first line names the model, at random.
text = model.stages[-1].toDebugString.split("\n", 1)[1]
spark.createDataFrame([(text,)], ["trees"]).coalesce(1).write.json(f"{result}/trees", mode="overwrite")

predicted = model.transform(test)
quality = BinaryClassificationEvaluator(labelCol="late").evaluate(predicted)
spark.createDataFrame([(quality,)], ["areaUnderROC"]).coalesce(1).write.json(
    f"{result}/quality", mode="overwrite"
)
predicted.withColumn("probable", vector_to_array("probability")[1]).select(
    *FEATURES, "late", "prediction", "probable"
).write.csv(f"{result}/predictions", header=True, mode="overwrite")
spark.stop()
