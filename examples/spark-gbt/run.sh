#!/usr/bin/env bash
# Gradient-boosted trees by Spark ML in an enclave, and outside.
source "$(dirname "$0")/../spark/lib.sh"

begin_spark
node "$example/generate.mjs" 2000 >loans.csv
seal loans.csv loans
build "$spark/enclave.yaml"
run loans result
plainly gbt loans.csv loans

# The model's own files have the time and random names in them; its trees are compared as text.
mv outside/model outside-model
mv result/model model
compare_rows
cat result/quality/part-*
