#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, for FUZZTIME each (default 20s).
#
#   FUZZTIME=5m test/fuzz.sh             all of them
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
echo "$ran fuzz targets, $time each"
