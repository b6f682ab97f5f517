# Every step of a job, by the `cloister` command alone. The examples differ in their program and in
# their data; each `run.sh` reads this file, and says what is its own.
#
# All that is made lies in examples/out: packages in out/store, of each example a folder with a home
# of its own (key service, account, keys), so that nothing of yours is touched.
set -euo pipefail

example="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$example/../.." && pwd)"
name="$(basename "$example")"
out="$root/examples/out"
work="$out/$name"
main="$root/packages/cli/dist/main.js"

if [ ! -f "$main" ]; then
  echo "$name: not built yet: npm ci && npm run build" >&2
  exit 2
fi

say() {
  local said="$*"
  echo "\$ cloister ${said//"$root"\//}" >&2
}

# The command, said before it runs. What it finds out goes to standard output.
cloister() {
  say "$@"
  node "$main" --home "$work/home" "$@"
}

# One field of the JSON on standard input.
field() {
  node -p "JSON.parse(require('node:fs').readFileSync(0, 'utf8'))['$1']"
}

# A new folder, and in it a key service of this machine with an account.
begin() {
  rm -rf "$work"
  mkdir -p "$work/home" "$out/store"
  ln -s "$out/store" "$work/home/store"
  cd "$work"
  local serve=(kms serve --port 0 --allow-simulated-platform)
  say "${serve[@]}"
  # Not through the function: what is ended below is to be the service, and not a shell around it.
  node "$main" --home "$work/home" "${serve[@]}" >kms.log 2>&1 &
  service=$!
  trap 'kill "$service" 2>/dev/null; wait "$service" 2>/dev/null || true' EXIT
  until grep --quiet 'pin:' kms.log; do
    kill -0 "$service" 2>/dev/null || { cat kms.log >&2; exit 1; }
    sleep 0.1
  done
  cloister kms enrol --pin home/kms/kms.json --token-file home/kms/enrolment-token >/dev/null
}

# seal FILE INPUT: under a key that attested instances alone are given. Results are under one that
# their owner opens.
seal() {
  local key
  cloister key create --alias "$2" >/dev/null
  key="$(cloister --json key create --open --alias results | field keyId)"
  dataset="$(cloister --json encrypt "$1" "sealed/$2" --key "$2" | field datasetId)"
  result="$(node -p "require('node:crypto').randomBytes(16).toString('hex')")"
  sed "s/DATASET/$dataset/; s/NEW_ID/$result/; s/RESULT_KEY/$key/" "$example/job.yaml" >job.yaml
}

# build [DEFINITION]: the image of what enclave.lock names and of what is the example's own.
build() {
  local definition="${1:-$example/enclave.yaml}"
  cloister enclave lock "$definition"
  cloister enclave build "$definition" image
}

# run INPUT OUTPUT: allows this image this job, for both keys, and runs it; then opens the result. What
# goes to standard output is the program's own.
run() {
  cloister policy add --key "$1" --job job.yaml --tee sim >/dev/null
  cloister policy add --key results --job job.yaml --tee sim >/dev/null
  cloister run job.yaml
  cloister receipt verify "sealed/$2/receipt.jws" --allow-simulated-platform >receipt.txt
  cloister decrypt "sealed/$2" "$2" --files --dataset "$result" >&2
}

# image ARGUMENT...: the image's program from the image's files, with what bubblewrap is told more: no
# enclave, no attestation, no sealed data. Bubblewrap does here what chroot does. Where the image has
# several, it is the one that $entry_point names.
image() {
  local -a command arguments
  mapfile -t command < <(ENTRY="${entry_point:-main}" node -p "
    const { program, others } = JSON.parse(require('node:fs').readFileSync('image/manifest.json', 'utf8')).entry
    const { ENTRY } = process.env
    const chosen = ENTRY === 'main' ? program : others[ENTRY].program
    chosen.join('\n')")
  for folder in image/root/*; do
    arguments+=(--ro-bind "$folder" "/$(basename "$folder")")
  done
  while IFS='=' read -r variable value; do
    arguments+=(--setenv "$variable" "$value")
  done < <(node -p "Object.entries(JSON.parse(require('node:fs').readFileSync('image/manifest.json', 'utf8')).environment).map(pair => pair.join('=')).join('\n')")
  bwrap --clearenv "${arguments[@]}" --proc /proc --dev /dev --tmpfs /tmp --chdir /tmp "$@" -- \
    "${command[@]}"
}

# outside FILE INPUT OUTPUT FOLDER: the same program over the plain file.
outside() {
  local at="/data/$2"
  [ -d "$1" ] || at="$at/$(basename "$1")"
  mkdir -p "$4"
  image --tmpfs /data --ro-bind "$1" "$at" --bind "$4" "/data/$3"
}

# compare FILE INPUT OUTPUT: whether the enclave's result is the program's own.
compare() {
  outside "$1" "$2" "$3" outside >outside.txt
  diff -r outside "$3"
  echo "$name: the result is what the same program makes outside, byte for byte" >&2
}
