#!/usr/bin/env bash
# Letters, sealed; their words counted by a Java program in an enclave; opened, and compared.
source "$(dirname "$0")/../lib.sh"

# The jar of the program, as ever: by Maven, on this machine. What it needs comes from the lock.
mvn --batch-mode --quiet --file "$example/pom.xml" compiler:compile jar:jar

begin
node "$example/generate.mjs" letters 200
seal letters letters
build
run letters words
compare letters letters words
head -n 11 words/words.csv
