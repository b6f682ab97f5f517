#!/usr/bin/env bash
# A laboratory's results, sealed; a report of them by DuckDB in an enclave; opened, and compared.
source "$(dirname "$0")/../lib.sh"

begin
node "$example/generate.mjs" 50000 >results.csv
seal results.csv laboratory
build
run laboratory report
compare results.csv laboratory report
cat report/report.md
