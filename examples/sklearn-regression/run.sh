#!/usr/bin/env bash
# Measurements, sealed; a line through them by scikit-learn in an enclave; opened, and compared.
source "$(dirname "$0")/../lib.sh"

begin
node "$example/generate.mjs" 1000 >dose.csv
seal dose.csv dose
build
run dose model
compare dose.csv dose model
cat model/regression.txt
