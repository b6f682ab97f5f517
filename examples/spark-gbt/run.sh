#!/usr/bin/env bash
# Gradient-boosted trees by Spark ML in an enclave, and outside.
source "$(dirname "$0")/../spark/lib.sh"

begin_spark
node "$example/generate.mjs" 2000 >loans.csv
seal loans.csv loans
build "$spark/enclave.yaml"
run loans result
plainly gbt loans.csv loans

# The model's own files have the time and random names in them; its trees are compared as text.
mv outside/model outside-model
mv result/model model
compare_rows
cat result/quality/part-*

# Another job loads the sealed model, and says the same of the same loans.
predictions="$(node -p "require('node:crypto').randomBytes(16).toString('hex')")"
key="$(sed -n 's/.*key: \([^,]*\),.*/\1/p' job.yaml)"
sed "s/LOANS/$dataset/; s/TRAINED/$result/; s/NEW_ID/$predictions/; s/RESULT_KEY/$key/" \
  "$example/predict.yaml" >predict.yaml
for key in loans results; do
  cloister policy add --key "$key" --job predict.yaml --tee sim >/dev/null
done
cloister run predict.yaml
cloister decrypt sealed/predictions predictions --files --dataset "$predictions"
if comm -23 <(sort -u result/predictions/part-*) <(sort -u predictions/part-*) | grep .; then exit 1; fi
echo "$name: the sealed model, loaded by another job, predicts the same" >&2
