#!/usr/bin/env bash
# A table that PyArrow encrypts, a job by Spark on it in an enclave, and its result read by PyArrow: each
# column under the key of whoever may see it, all the way.
source "$(dirname "$0")/../lib.sh"

# A Python that has pyarrow and cryptography: pip install "./connectors/python[parquet]".
outside() {
  PYTHONPATH="$root/connectors/python/src" "${CLOISTER_PYTHON_CLIENT:-python3}" -B \
    "$example/outside.py" "$@"
}

mvn --batch-mode --quiet --file "$root/connectors/spark/pom.xml" -DskipTests -DskipITs package

begin
cloister key create --open --alias exchange >/dev/null
# The job has the master keys as files. They lie in memory until they are sealed.
plain="$(mktemp --directory --tmpdir=/dev/shm)"
mkdir staff
outside write home staff/staff.parquet exchange.json "$plain/keys"

id() { node -p "require('node:crypto').randomBytes(16).toString('hex')"; }
result="$(id)"
for key in staff keys; do cloister key create --alias "$key" >/dev/null; done
sed "
  s/STAFF_DATASET/$(cloister --json encrypt staff sealed/staff --key staff | field datasetId)/
  s/KEYS_DATASET/$(cloister --json encrypt "$plain/keys" sealed/keys --key keys | field datasetId)/
  s/NEW_ID/$result/; s/RESULT_KEY/$(cloister --json key create --open --alias results | field keyId)/
" "$example/job.yaml" >job.yaml
rm -r "$plain"
build

for key in staff keys results; do cloister policy add --key "$key" --job job.yaml --tee sim >/dev/null; done
cloister run job.yaml
cloister decrypt sealed/result result --files --dataset "$result"

# What comes out is still encrypted, by Parquet.
if grep --recursive --binary-files=text --quiet name-1 staff result; then exit 1; fi
outside read home exchange.json result/*.parquet
echo "$name: PyArrow opens what Spark made, and it is what is computed outside" >&2
