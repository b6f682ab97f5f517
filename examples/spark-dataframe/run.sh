#!/usr/bin/env bash
# A walk over Spark's API in an enclave, over sealed users, and outside.
source "$(dirname "$0")/../spark/lib.sh"

begin_spark
node "$example/generate.mjs" 500 >users.json
seal users.json users
build "$spark/enclave.yaml"
run users result | tee inside.txt
plainly dataframe users.json users
diff outside.txt <(grep '^INFO' inside.txt)

# Parquet and ORC are compressed, and compared by what Spark says is in them: that is csv's rows.
rm -r {outside,result}/{parquet,orc}
compare_rows
