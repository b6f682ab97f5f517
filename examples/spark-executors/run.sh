#!/usr/bin/env bash
# A query by Spark as a driver and two executors, each an attested instance; compared with the same job
# as one instance. run.sh --executors N for another number of them.
source "$(dirname "$0")/../lib.sh"
executors=2
if [ "${1:-}" = --executors ]; then executors="$2"; fi

# The connector, by Maven, on this machine.
mvn --batch-mode --quiet --file "$root/connectors/spark/pom.xml" -DskipTests -DskipITs package

begin
node "$example/../spark-simple-query/generate.mjs" 3000 >people.csv
seal people.csv people
build

# As one instance, to compare with.
run people result
mv result alone

# The same job by the same image, under the same policies: a driver and executors.
cloister run job.yaml --executors "$executors"
cloister receipt verify sealed/result/receipt.jws --allow-simulated-platform >receipt.txt
cloister decrypt sealed/result result --files --dataset "$result"

# Spark names files at random, and rows have no order.
rows() {
  (cd "$1" && cat pairs/part-* | sort && find people -name 'job=*' | sort)
}
diff <(rows alone) <(rows result)
[ "$(rows result | wc -l)" -gt 100 ]
echo "$name: $executors executors make what one instance makes, row by row" >&2
