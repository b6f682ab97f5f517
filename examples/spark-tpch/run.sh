#!/usr/bin/env bash
# run.sh [SCALE]: TPC-H's 22 queries by Spark in an enclave over eight sealed tables, and outside.
source "$(dirname "$0")/../spark/lib.sh"

begin_spark
node "$example/generate.mjs" tables "${1:-0.05}"
seal tables tables
build "$spark/enclave.yaml"
run tables result >inside.txt
plainly main tables tables
compare_rows
node "$example/check.mjs" tables result
paste <(grep query inside.txt) <(grep query outside.txt | cut -d: -f2) | sed 's/$/ outside/'
