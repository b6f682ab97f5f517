#!/usr/bin/env bash
# People, sealed; a query over them by Spark in an enclave; its result opened, and compared.
source "$(dirname "$0")/../lib.sh"

# The connector, by Maven, on this machine.
mvn --batch-mode --quiet --file "$root/connectors/spark/pom.xml" -DskipTests -DskipITs package

begin
node "$example/generate.mjs" 10000 >people.csv
seal people.csv people
build
run people result

# The same query by the same Spark from the same files, over the plain file.
mkdir outside
image --tmpfs /in --tmpfs /out --ro-bind people.csv /in/people/people.csv --bind outside /out/result \
  --ro-bind "$example/plain" /plain --setenv SPARK_CONF_DIR /plain >outside.txt

# Spark names files at random, and rows have no order.
rows() {
  (cd "$1" && for folder in */; do echo "$folder" && cat "$folder"part-* | sort; done)
}
diff <(rows outside) <(rows result)
echo "$name: the result is what the same program makes outside, row by row" >&2
rows result | tail -n 4

# Once more by the program of the older stack's kind: the next version of the same result.
mv result of-session
sed -i 's/\[main\]/[ppml]/' job.yaml
run people result
diff <(rows outside) <(rows result)
echo "$name: PPMLContext reads and writes the same" >&2
