"""regression.py DOSE RESULT: Spark reads, scikit-learn fits a line, Spark's tasks predict by it."""

import sys

import numpy as np
from pyspark.sql import Row, SparkSession
from sklearn.linear_model import LinearRegression
from sklearn.metrics import (
    mean_absolute_error,
    mean_squared_error,
    median_absolute_error,
    r2_score,
)

source, result = sys.argv[1:]
spark = SparkSession.builder.appName("Regression").getOrCreate()

table = spark.read.csv(source, header=True, schema="dose DOUBLE, response DOUBLE")
# In an order of its own: sums of floating-point numbers depend on it.
data = np.array(table.orderBy("dose", "response").collect())
x, y = data[:, :1], data[:, 1]
model = LinearRegression().fit(x, y)
predicted = model.predict(x)
measures = {
    "intercept": model.intercept_,
    "coefficient": model.coef_[0],
    "R2 score": r2_score(y, predicted),
    "mean squared error": mean_squared_error(y, predicted),
    "mean absolute error": mean_absolute_error(y, predicted),
    "median absolute error": median_absolute_error(y, predicted),
}
rows = [Row(measure=name, value=float(value)) for name, value in measures.items()]
spark.createDataFrame(rows).coalesce(1).write.csv(f"{result}/measures", mode="overwrite")

# The model goes to the tasks, and each predicts the rows that it has.
shared = spark.sparkContext.broadcast(model)


def predict(rows):
    rows = list(rows)
    if rows:
        doses = np.array([[row.dose] for row in rows])
        for row, value in zip(rows, shared.value.predict(doses)):
            yield Row(dose=row.dose, response=row.response, predicted=float(value))


predictions = spark.createDataFrame(table.rdd.mapPartitions(predict))
predictions.write.csv(f"{result}/predictions", header=True, mode="overwrite")
print("rows:", len(data))
spark.stop()
