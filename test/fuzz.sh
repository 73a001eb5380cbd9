#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, for FUZZTIME each (default 20s).
#
#   FUZZTIME=5m test/fuzz.sh             all of them
#   PACKETS=100000 test/fuzz.sh          fewer than the 10,000,000 packets that a node of the DHT is sent
#   test/fuzz.sh ./metainfo ./peerwire   those of some packages
set -euo pipefail
cd "$(dirname "$0")/.."

packages=("$@")
if [ ${#packages[@]} -eq 0 ]; then
  packages=(./...)
fi
time=${FUZZTIME:-20s}
ran=0
while read -r package; do
  targets=$(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true)
  for target in $targets; do
    echo "== $package $target ($time)"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package"
    ran=$((ran + 1))
  done
done < <(go list "${packages[@]}")
if [ $# -eq 0 ]; then
  echo "== ./dht: ${PACKETS:-10000000} random and changed packets"
  go test -count 1 -timeout 30m -run '^TestRandomPackets$' ./dht -packets "${PACKETS:-10000000}"
fi
echo "$ran fuzz targets, $time each"
