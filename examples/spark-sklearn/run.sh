#!/usr/bin/env bash
# A line fitted by scikit-learn to what Spark reads, in an enclave, and outside.
source "$(dirname "$0")/../spark/lib.sh"

begin_spark
node "$example/../sklearn-regression/generate.mjs" 2000 >dose.csv
seal dose.csv dose
build "$spark/enclave.yaml"
run dose result
plainly sklearn dose.csv dose
compare_rows
cat result/measures/part-*
