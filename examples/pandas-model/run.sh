#!/usr/bin/env bash
# Measurements, sealed; read by pandas in an enclave as it goes; a model and its predictions, sealed.
source "$(dirname "$0")/../lib.sh"

begin
node "$example/../sklearn-regression/generate.mjs" 1000 >dose.csv
seal dose.csv dose
build
run dose result
cat result/model.txt
echo "$name: the model, its predictions and the line that it fits are in result" >&2
