#!/bin/sh
# report.sh LOG FOLDER: what a web server did in a day. Lines are: time, client, method, page,
# status, milliseconds.
set -eu
log=$1
report=$2/report.txt

counted() { sort | uniq -c | sort -k1,1nr -k2; }

{
  echo "requests: $(wc -l <"$log")"
  echo "clients: $(cut -d ' ' -f 2 "$log" | sort -u | wc -l)"
  echo
  echo 'by status'
  cut -d ' ' -f 5 "$log" | counted
  echo
  echo 'by hour'
  cut -c 12-13 "$log" | uniq -c
  echo
  echo 'patients looked at most'
  awk '$4 ~ /^\/patients\// && $5 == 200 { print $4 }' "$log" | counted | head -n 10
  echo
  echo 'mean milliseconds by page'
  awk '{ sub(/\/[0-9]+$/, "/N", $4); sum[$4] += $6; n[$4]++ }
       END { for (page in sum) printf "%8.2f %s\n", sum[page] / n[page], page }' "$log" |
    sort -k1,1nr -k2
} >"$report"
head -n 1 "$report"
