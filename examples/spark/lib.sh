# What the examples of one Spark image share, beside what all examples share. The image is
# enclave.yaml here; each example has an entry point of it, a job and data.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
spark="$root/examples/spark"

# The connector, by Maven, on this machine; then a key service, as ever.
begin_spark() {
  mvn --batch-mode --quiet --file "$root/connectors/spark/pom.xml" -DskipTests -DskipITs package
  begin
}

# plainly ENTRY_POINT DATA INPUT: the same program by the same Spark from the same files, over plain
# files: DATA is a folder, or a file in one. It writes into the folder `outside`.
plainly() {
  local at="/in/$3"
  [ -d "$2" ] || at="$at/$(basename "$2")"
  mkdir outside
  entry_point="$1" image --tmpfs /in --tmpfs /out --ro-bind "$2" "$at" --bind outside /out/result \
    --ro-bind "$spark/plain" /plain --setenv SPARK_CONF_DIR /plain >outside.txt
}

# What a folder's folders hold, row by row: Spark names files at random, and rows have no order.
rows() {
  (cd "$1" && find . -mindepth 1 -type d | sort | while read -r folder; do
    compgen -G "$folder/part-*" >/dev/null || continue
    echo "$folder" && cat "$folder"/part-* | sort
  done)
}

# compare_rows: whether the enclave's result is the program's own.
compare_rows() {
  diff <(rows outside) <(rows result)
  echo "$name: the result is what the same program makes outside, row by row" >&2
}
