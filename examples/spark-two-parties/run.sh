#!/usr/bin/env bash
# Two parties, each with an account and keys of its own; one query over both's people; one result for
# each, which the other cannot open.
source "$(dirname "$0")/../lib.sh"

mvn --batch-mode --quiet --file "$root/connectors/spark/pom.xml" -DskipTests -DskipITs package

begin
# Amy's home is home; Bob's is another.
mkdir bob
bob() {
  say --home bob "$@"
  node "$main" --home "$work/bob" "$@"
}
bob kms enrol --pin home/kms/kms.json --token-file home/kms/enrolment-token >/dev/null

node "$example/../spark-simple-query/generate.mjs" 300 1 >amy.csv
node "$example/../spark-simple-query/generate.mjs" 300 2 >bob.csv

id() { node -p "require('node:crypto').randomBytes(16).toString('hex')"; }
union="$(id)" join="$(id)"
cloister key create --alias people >/dev/null
bob key create --alias people >/dev/null
sed "
  s/AMY_DATASET/$(cloister --json encrypt amy.csv sealed/amy --key people | field datasetId)/
  s/BOB_DATASET/$(bob --json encrypt bob.csv sealed/bob --key people | field datasetId)/
  s/UNION_ID/$union/; s/AMY_RESULT/$(cloister --json key create --open --alias results | field keyId)/
  s/JOIN_ID/$join/; s/BOB_RESULT/$(bob --json key create --open --alias results | field keyId)/
" "$example/job.yaml" >job.yaml
build

# Each looks at the job and the image, and allows what concerns its own keys. One of them is not enough.
for key in people results; do cloister policy add --key "$key" --job job.yaml --tee sim >/dev/null; done
if cloister run job.yaml; then exit 1; fi
for key in people results; do bob policy add --key "$key" --job job.yaml --tee sim >/dev/null; done
cloister run job.yaml

cloister decrypt sealed/union union --files --dataset "$union"
bob decrypt sealed/join join --files --dataset "$join"
if cloister decrypt sealed/join stolen --files --dataset "$join"; then exit 1; fi

# The same by the same Spark over plain files.
mkdir outside
image --tmpfs /in --bind outside /out --ro-bind "$example/plain" /plain --setenv SPARK_CONF_DIR /plain \
  --ro-bind amy.csv /in/amy/amy.csv --ro-bind bob.csv /in/bob/bob.csv >outside.txt

# Spark names files at random, and rows have no order.
rows() {
  (cd "$1" && cat union/part-* | sort && for folder in join/*/; do echo "$folder" && cat "$folder"part-* | sort; done)
}
diff <(rows outside) <(rows .)
echo "$name: the result is what the same program makes outside, row by row" >&2
