"""A line through sealed measurements, by pandas and scikit-learn; the model and its predictions, sealed."""

from cloister_job import Job
from cloister_job.frames import read_csv, read_parquet, write_parquet
from cloister_job.models import dump, load
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

job = Job()
result = job.output("result")

dose = read_csv(job.input("dose"))
model = LinearRegression().fit(dose[["dose"]], dose["response"])
dump(model, result, "model.joblib")
write_parquet(dose.assign(predicted=model.predict(dose[["dose"]])), result, "predicted.parquet", index=False)

# What this run has committed it can read again, sealed as it is by now.
again = load(result, "model.joblib")
predicted = read_parquet(result, "predicted.parquet", columns=["response", "predicted"])
with result.create("model.txt") as file:
    file.write(f"intercept: {again.intercept_}\ncoefficient: {again.coef_[0]}\n".encode())
    file.write(f"R2 score: {r2_score(predicted['response'], predicted['predicted'])}\n".encode())
print("finished")
