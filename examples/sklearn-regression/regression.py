"""regression.py CSV: fits a line through two columns, and prints how well it fits."""

import sys

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.metrics import (
    mean_absolute_error,
    mean_squared_error,
    median_absolute_error,
    r2_score,
)

data = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1)
x, y = data[:, :1], data[:, 1]

model = LinearRegression()
model.fit(x, y)
predicted = model.predict(x)

print("intercept:", model.intercept_)
print("coefficient:", model.coef_[0])
print("R2 score:", r2_score(y, predicted))
print("mean squared error:", mean_squared_error(y, predicted))
print("mean absolute error:", mean_absolute_error(y, predicted))
print("median absolute error:", median_absolute_error(y, predicted))
