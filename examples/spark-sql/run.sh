#!/usr/bin/env bash
# People, sealed; a script of SQL over them, by Spark in one Java in an enclave; its result opened,
# and compared.
source "$(dirname "$0")/../lib.sh"

# The connector, by Maven, on this machine. Spark itself comes from the lock.
mvn --batch-mode --quiet --file "$root/connectors/spark/pom.xml" -DskipTests -DskipITs package

begin
node "$root/examples/spark-simple-query/generate.mjs" 10000 >people.csv
seal people.csv people
build
run people result
outside people.csv people result outside >outside.txt

# Spark names files at random, and rows have no order.
rows() {
  (cd "$1" && for folder in */; do echo "$folder" && cat "$folder"part-* | sort; done)
}
diff <(rows outside) <(rows result)
echo "$name: the result is what the same program makes outside, row by row" >&2
rows result | tail -n 4
