#!/usr/bin/env bash
# A walk over Spark's API in an enclave, over sealed users, and outside.
source "$(dirname "$0")/../spark/lib.sh"

begin_spark
node "$example/generate.mjs" 500 >users.json
seal users.json users
build "$spark/enclave.yaml"
run users result >inside.txt
plainly dataframe users.json users
diff outside.txt inside.txt
tail -n 2 inside.txt

# Parquet and ORC are no text. Parquet has csv's rows.
diff <(tail -q -n +2 result/csv/part-* | sort) <(node "$example/parquet-rows.mjs" result/parquet | sort)
mkdir binary
mv result/parquet result/orc binary
rm -r outside/{parquet,orc}
compare_rows
