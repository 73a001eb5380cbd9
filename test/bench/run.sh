#!/usr/bin/env bash
# Runs btd beside other clients on this machine and prints the tables: 2 GiB from a tuned libtorrent seed on loopback,
# then the same served back, then a forced verification. It installs nothing (test/install-clients.sh does); a client
# that is not there is left out, and named.
#
#   test/bench/run.sh [SCENARIO ...]      default: leech seed recheck
#
#   BENCH_HARNESS   folder of the benchmark harness (bench.py)     default: ../shared/bench beside the repository
#   BENCH_REPS      repetitions of everything, alternating         default: 3
#   BENCH_CLIENTS   clients, comma-separated                       default: btd,libtorrent-tuned,aria2,rtorrent,transmission
#   BENCH_MIB       size of the torrent in MiB                     default: 2048
#   BENCH_MEDIA     shm (tmpfs), disk, or both with a comma        default: shm
#   BENCH_LIMITS    1 to measure first what the machine itself can do
#   BENCH_BTD       measure this binary instead of building one
#   BENCH_OUT       keep the results (JSON) in this folder         default: thrown away
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
harness=${BENCH_HARNESS:-$root/../shared/bench}
if [ ! -f "$harness/bench.py" ]; then
  echo "bench: no bench.py in $harness; BENCH_HARNESS names the harness's folder" >&2
  exit 1
fi
if [ "$(uname -s)" != Linux ]; then
  echo "bench: the harness reads /proc, so it needs Linux" >&2
  exit 1
fi

work=$(mktemp -d)
shm=
cleanup() {
  rm -rf "$work"
  if [ -n "$shm" ]; then
    rm -rf "$shm"
  fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# The harness writes its results beside itself, and may lie in a folder that is read-only: run a copy.
cp -r "$harness" "$work/harness"
chmod -R u+w "$work/harness"
rm -rf "$work/harness/results"
mkdir -p "$work/bin" "$work/harness/results"
echo "bench: building"
if [ -n "${BENCH_BTD:-}" ]; then
  cp "$BENCH_BTD" "$work/bin/btd"
else
  CGO_ENABLED=0 go build -o "$work/bin/btd" ./cmd/btd
fi
(cd "$work/harness/refpeer" && CGO_ENABLED=0 GOWORK=off go build -o "$work/bin/refpeer" .)
(cd "$work/harness/limits" && CGO_ENABLED=0 GOWORK=off go build -o "$work/bin/limits" .)

export BENCH_BTD=$work/bin/btd BENCH_GOBIN=$work/bin BENCH_ADAPTERS=$root/test/bench/btd_adapter.py
export BENCH_DISK=${BENCH_DISK:-$work/disk}
if [ -z "${BENCH_SHM:-}" ] && [ -d /dev/shm ]; then
  shm=$(mktemp -d /dev/shm/btd-bench-XXXXXX)
  export BENCH_SHM=$shm
fi

have() {
  case $1 in
    btd) return 0 ;;
    libtorrent*) /usr/bin/python3 -c 'import libtorrent' 2>/dev/null ;;
    transmission*) command -v transmission-daemon >/dev/null ;;
    aria2) command -v aria2c >/dev/null ;;
    qbittorrent) command -v qbittorrent-nox >/dev/null ;;
    anacrolix*) command -v "$BENCH_GOBIN/torrent" >/dev/null ;;
    rain) command -v "$BENCH_GOBIN/rain" >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}
clients=()
IFS=, read -r -a wanted <<<"${BENCH_CLIENTS:-btd,libtorrent-tuned,aria2,rtorrent,transmission}"
for c in "${wanted[@]}"; do
  if have "$c"; then
    clients+=("$c")
  else
    echo "bench: skipped $c: it is not on this machine (test/install-clients.sh installs the Debian packages)"
  fi
done
if [ ${#clients[@]} -eq 0 ]; then
  echo "bench: no client to measure" >&2
  exit 1
fi
scenarios=("$@")
if [ ${#scenarios[@]} -eq 0 ]; then
  scenarios=(leech seed recheck)
fi
if ! have libtorrent; then
  # The other end of these two is libtorrent.
  kept=()
  for s in "${scenarios[@]}"; do
    case $s in
      leech | seed | files) echo "bench: skipped $s: its other end is python3-libtorrent, which is not on this machine" ;;
      *) kept+=("$s") ;;
    esac
  done
  scenarios=("${kept[@]}")
fi
if [ ${#scenarios[@]} -eq 0 ]; then
  echo "bench: nothing left to run" >&2
  exit 1
fi

if [ -n "${BENCH_LIMITS:-}" ]; then
  mkdir -p "$BENCH_DISK" "${BENCH_SHM:-$work/shm}"
  "$work/bin/limits" -disk "$BENCH_DISK" -shm "${BENCH_SHM:-$work/shm}"
fi
joined=$(IFS=,; echo "${clients[*]}")
echo "bench: ${scenarios[*]}: $joined"
cd "$work/harness"
# A network namespace of its own: the harness's tracker has a fixed port, which another run may hold.
alone=()
if [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null && command -v ip >/dev/null; then
  alone=(unshare -n -- sh -c 'ip link set lo up && exec "$@"' sh)
fi
"${alone[@]}" /usr/bin/python3 bench.py run "${scenarios[@]}" --clients "$joined" --reps "${BENCH_REPS:-3}" \
  --mib "${BENCH_MIB:-2048}" --media "${BENCH_MEDIA:-shm}" ${BENCH_FLAGS:-}
if [ -n "${BENCH_OUT:-}" ]; then
  mkdir -p "$BENCH_OUT"
  cp results/*.json "$BENCH_OUT"/
fi
# What counts is whether btd came through; the harness reports failed runs and goes on.
/usr/bin/python3 - <<'PY'
import glob, json, sys
bad = [(p, r['error']) for p in glob.glob('results/*.json') for r in json.load(open(p))['runs']
       if r['client'] == 'btd' and 'error' in r]
for p, e in bad:
    print('bench: btd failed in %s: %s' % (p, e))
sys.exit(1 if bad else 0)
PY
