#!/usr/bin/env bash
# A day's log, sealed; a report of it by a shell pipeline in an enclave; opened, and compared.
source "$(dirname "$0")/../lib.sh"

begin
node "$example/generate.mjs" 20000 >access.log
seal access.log log
build
run log report
compare access.log log report
cat report/report.txt
