#!/usr/bin/env bash
# Runs btd beside the other clients of this machine, in turn, and prints a table for every row with ratios, and how btd
# stands against the bar. It installs nothing (test/install-clients.sh does); a client that is not there is left out, and
# named. It needs Linux, Go, /usr/bin/python3 and the harness. As root it runs in a network namespace of its own.
# The memory that a row needs is touched and held until its clients are up (ballast.py): 6 GiB on tmpfs for the swarm.
#
#   test/bench/run.sh [ROW ...]           default: all but leech and seed; two and a half hours
#   BENCH_QUICK=1 test/bench/run.sh       small sizes and two repetitions: shows that everything works, in ten minutes
#   BENCH_PROFILE=1 test/bench/run.sh     instead: leech-ref and seed-ref once under perf, the ten dearest functions of btd
#
#   leech-ref seed-ref    2 GiB from and to a reference peer that only reads and writes
#   leech seed            2 GiB from and to a tuned libtorrent
#   recheck               forced verification of 2 GiB in the page cache, beside what two goroutines can do at most
#   swarm                 one seed and six leechers of the same client, 512 MiB
#   files                 10,000 files of 16 KiB
#   many                  2,000 torrents: add, restart, idle
#   idle                  2,000, 10,000 and 100,000 seeding torrents; btd only
#   tracker               the tracker in btd beside opentracker: announces a second over UDP and HTTP, a million peers
#   firstbyte             from the request that adds a torrent to its first payload byte; btd only
#   api                   500 requests a second while seeding and downloading at full speed; btd only
#
#   BENCH_HARNESS   folder of the benchmark harness (bench.py)     default: ../shared/bench beside the repository
#   BENCH_REPS      repetitions of everything, in turn             default: 5
#   BENCH_CLIENTS   clients, comma-separated                       default: those that each row asks for
#   BENCH_MIB       size of the torrent in MiB                     default: 2048, of the swarm 512
#   BENCH_MEDIA     shm (tmpfs), disk, or both with a comma        default: both for leech-ref and recheck, disk for many, else shm
#   BENCH_IDLE      seconds of idle time that are measured         default: many 120, idle 60
#   BENCH_IDLE_N    numbers of torrents of the row idle            default: 2000 10000 100000
#   BENCH_IDLE_REPS repetitions of the row idle                    default: 1
#   BENCH_WAIT      how long the row idle waits, after each start, for the first announces of all torrents, of which btd
#                   makes 50 a second; 100,000 need half an hour for the first start. What has not come by then is held
#                   against the share that was due.                default: 240s
#   BENCH_SHM       folder on tmpfs for scratch                     default: /dev/shm
#   BENCH_DISK      folder on the disk for scratch                  default: that of temporary files
#   BENCH_LIMITS    1 to measure first what the machine itself can do (five minutes)
#   BENCH_BTD       measure this binary instead of building one
#   BENCH_OUT       keep the results (JSON) and the report in this folder; results of the same btd
#                   that are there are added to
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
harness=${BENCH_HARNESS:-$root/../shared/bench}
quick=${BENCH_QUICK:-}
if [ ! -f "$harness/bench.py" ]; then
  echo "bench: no bench.py in $harness; BENCH_HARNESS names the harness's folder" >&2
  exit 1
fi
if [ "$(uname -s)" != Linux ]; then
  echo "bench: memory and CPU are read from /proc, so it needs Linux" >&2
  exit 1
fi

work=$(mktemp -d)
touch "$work/began"
shm='' disk='' child=''
cleanup() {
  status=$?
  trap '' INT TERM
  if [ -n "$child" ]; then
    kill -TERM -- "-$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
    kill -KILL -- "-$child" 2>/dev/null || true # what it started and did not end
  fi
  # transmission, which the harness kills, leaves a file for each session; it holds a lock on it while it runs.
  find /tmp -maxdepth 1 -name 'tr_session_id_*' -user "$(id -u)" -newer "$work/began" -exec flock -n {} rm -f {} \; 2>/dev/null || true
  rm -rf "$work" ${disk:+"$disk"} ${shm:+"$shm"}
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# The harness writes its results beside itself, and may lie in a folder that is read-only: run a copy.
cp -r "$harness" "$work/harness"
chmod -R u+w "$work/harness"
rm -rf "$work/harness/results"
mkdir -p "$work/bin" "$work/harness/results"
results=$work/harness/results
cp test/bench/*.py "$work/bin" # as they are now: a run takes hours
echo "bench: building"
if [ -n "${BENCH_BTD:-}" ]; then
  cp "$BENCH_BTD" "$work/bin/btd"
else
  CGO_ENABLED=0 go build -o "$work/bin/btd" ./cmd/btd
fi
CGO_ENABLED=0 go build -o "$work/bin/load" ./test/bench/load
CGO_ENABLED=0 go build -o "$work/bin/trackerload" ./test/bench/trackerload
(cd "$work/harness/refpeer" && CGO_ENABLED=0 GOWORK=off go build -o "$work/bin/refpeer" .)
(cd "$work/harness/limits" && CGO_ENABLED=0 GOWORK=off go build -o "$work/bin/limits.all" .)
# The same program for one measurement: LIMITS_ONLY names it.
sed -i 's/^func measure(name, .*{$/&\n\tif only := os.Getenv("LIMITS_ONLY"); only != "" \&\& only != name {\n\t\treturn\n\t}/' \
  "$work/harness/limits/main.go"
(cd "$work/harness/limits" && CGO_ENABLED=0 GOWORK=off go build -o "$work/bin/limits" .)

export BENCH_BTD=$work/bin/btd BENCH_GOBIN=$work/bin BENCH_ADAPTERS=$work/bin/btd_adapter.py
export PYTHONDONTWRITEBYTECODE=1
# Folders of our own, since they are emptied after every row.
if [ ! -d "${BENCH_SHM:-/dev/shm}" ]; then
  echo "bench: no /dev/shm; BENCH_SHM names a folder on tmpfs" >&2
  exit 1
fi
shm=$(mktemp -d "${BENCH_SHM:-/dev/shm}/btd-bench-XXXXXX")
disk=$(mktemp -d "${BENCH_DISK:-$work}/btd-bench-XXXXXX")
export BENCH_SHM=$shm BENCH_DISK=$disk
if [ -n "${BENCH_OUT:-}" ]; then
  mkdir -p "$BENCH_OUT"
  BENCH_OUT=$(cd "$BENCH_OUT" && pwd)
  find "$BENCH_OUT" -maxdepth 1 -name '*.json' -exec cp {} "$results" \;
fi

have() {
  case $1 in
    btd) return 0 ;;
    limit) grep -q LIMITS_ONLY "$work/harness/limits/main.go" ;;
    libtorrent*) /usr/bin/python3 -c 'import libtorrent' 2>/dev/null ;;
    transmission*) command -v transmission-daemon >/dev/null ;;
    aria2) command -v aria2c >/dev/null ;;
    qbittorrent) command -v qbittorrent-nox >/dev/null ;;
    anacrolix*) command -v "$BENCH_GOBIN/torrent" >/dev/null ;;
    rain) command -v "$BENCH_GOBIN/rain" >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# present ROW CLIENT,...: those of the clients that are here, joined with commas in $clients.
present() {
  local row=$1 c wanted
  clients=
  IFS=, read -r -a wanted <<<"${BENCH_CLIENTS:-$2}"
  for c in "${wanted[@]}"; do
    if have "$c"; then
      clients=${clients:+$clients,}$c
    else
      echo "bench: $row: skipped $c: it is not on this machine (test/install-clients.sh installs the Debian packages)"
    fi
  done
}

# A network namespace of its own: the harness's tracker has a fixed port, which another run may hold.
alone=()
if [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null && command -v ip >/dev/null; then
  # shellcheck disable=SC2016 # the inner shell expands it
  alone=(unshare -n -- sh -c 'ip link set lo up && exec "$@"' sh)
fi

# run CMD ...: in a process group of its own, which ends with this script. Not to be called in a subshell.
run() {
  setsid -- "${alone[@]}" "$@" &
  child=$!
  local status=0
  wait "$child" || status=$?
  kill -KILL -- "-$child" 2>/dev/null || true
  child=
  return $status
}

keep() {
  if [ -n "${BENCH_OUT:-}" ] && compgen -G "$results/*.json" >/dev/null; then
    cp "$results"/*.json "$BENCH_OUT"/
    /usr/bin/python3 "$work/bin/report.py" "$results" >"$BENCH_OUT/report.md" || true
  fi
}

# machine BTD: what it was measured on, as JSON.
machine() {
  /usr/bin/python3 - "$1" "$(git describe --always --dirty 2>/dev/null || true)" "$(go version)" <<'PY'
import hashlib, json, os, platform, subprocess, sys, time
cpu = next((line.split(':', 1)[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name')), platform.machine())
memory = next(int(line.split()[1]) >> 20 for line in open('/proc/meminfo') if line.startswith('MemTotal'))
version = subprocess.run([sys.argv[1], '--version'], capture_output=True, text=True).stdout.strip()
binary = hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest()[:12]
json.dump({'date': time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime()),
           'btd': '%s, source %s, binary %s' % (version, sys.argv[2] or 'unknown', binary),
           'Go': sys.argv[3].removeprefix('go version '), 'kernel': platform.system() + ' ' + platform.release(),
           'machine': '%s, %d processors, %d GiB' % (cpu, os.cpu_count(), memory)}, sys.stdout)
PY
}

# binary: which btd the description on standard input is of.
binary() {
  sed -n 's/.*, binary \([0-9a-f]*\).*/\1/p'
}

# profile: where btd's time goes in one download and one upload.
profile() {
  if ! command -v perf >/dev/null; then
    echo "bench: BENCH_PROFILE needs perf (linux-perf), which is not on this machine" >&2
    exit 1
  fi
  local s
  for s in leech-ref seed-ref; do
    echo "bench: $s under perf"
    run env -C "$work/harness" "BENCH_PERF=$work/$s.perf" /usr/bin/python3 "$work/bin/drive.py" run "$s" --clients btd \
      --reps 1 --dry --media "${BENCH_MEDIA:-shm}" --mib "${BENCH_MIB:-2048}"
    perf report -i "$work/$s.perf" --comm btd --no-children --sort symbol --stdio --percent-limit 0.1 2>/dev/null |
      awk -v row="$s" 'BEGIN { printf "\n### %s: the ten dearest functions of btd, %% of its CPU time\n\n", row }
        /^ +[0-9.]+%/ && n < 10 { n++; printf "    %7s %s %s\n", $1, $2, $3 }'
    echo
  done
}

reps=${BENCH_REPS:-${quick:+2}}
reps=${reps:-5}

# harness ROW MEDIA CLIENTS FLAGS...: one row of the harness.
harness() {
  local row=$1 media=${BENCH_MEDIA:-$2}
  present "$row" "$3"
  shift 3
  if [ -z "$clients" ]; then
    echo "bench: $row: no client to measure"
    return
  fi
  case $row in
    leech | seed | files)
      if ! have libtorrent; then
        echo "bench: skipped $row: its other end is python3-libtorrent, which is not on this machine"
        return
      fi
      ;;
  esac
  local size=()
  if [ -n "${BENCH_MIB:-}" ]; then
    size=(--mib "$BENCH_MIB")
  elif [ -n "$quick" ]; then
    size=(--mib 128)
  fi
  echo "bench: $row: $clients"
  # shellcheck disable=SC2086 # BENCH_FLAGS is a list
  run env -C "$work/harness" /usr/bin/python3 "$work/bin/drive.py" run "$row" --clients "$clients" --reps "$reps" \
    --media "$media" "${size[@]}" "$@" ${BENCH_FLAGS:-} || failed=1
  rm -rf "${shm:?}"/* "${disk:?}"/*
  keep
}

# load FILE FLAGS...: one measurement of ours.
load() {
  local file=$1 what=$2 before=()
  if [ "$what" = api ] && [ "$above" -gt 0 ]; then
    before=(nice -n "-$above")
  fi
  shift 2
  echo "bench: $file"
  run "${before[@]}" "$work/bin/load" "$what" -btd "$work/bin/btd" -refpeer "$work/bin/refpeer" -scratch "$BENCH_SHM" -work "$work" \
    -into "$results/$file.json" "$@" >/dev/null || failed=1
  keep
}

# The row api: how much more important the program that sends requests is than the others. Its own waits for a
# processor are not to be measured.
above=0
if [ "$(nice -n -10 nice 2>/dev/null)" = $(($(nice) - 10)) ]; then
  above=10
fi

# row ROW: measures one row of the report.
row() {
  local i n
  case $1 in
    leech-ref) harness "$1" shm,disk btd,libtorrent-tuned,libtorrent,rtorrent,aria2 ;;
    leech) harness "$1" shm btd,libtorrent-tuned,libtorrent,aria2 ;;
    seed-ref | seed) harness "$1" shm btd,rtorrent,libtorrent-tuned,libtorrent,aria2 ;;
    recheck) harness "$1" shm,disk btd,limit,rtorrent,libtorrent-tuned,aria2 ;;
    swarm) harness "$1" shm btd,rtorrent,aria2,libtorrent-tuned --warm 6 ;; # it writes 3 GiB and needs some more
    files) harness "$1" shm btd,libtorrent,libtorrent-tuned,rtorrent,aria2 ;;
    many) harness "$1" disk btd,libtorrent,rtorrent,transmission --idle "$many_idle" "${many_count[@]}" ;;
    idle)
      for ((i = 0; i < ${BENCH_IDLE_REPS:-1}; i++)); do
        for n in $idle_n; do
          load "idle-$n" idle -n "$n" -time "${idle}s" -settle "${settle}s" -interval "$interval" \
            -wait "${BENCH_WAIT:-240s}" -lists "$((n < 100000 ? 200 : 50))"
        done
      done
      ;;
    tracker)
      present "$1" btd,opentracker
      echo "bench: tracker: $clients"
      run "$work/bin/trackerload" -btd "$work/bin/btd" -clients "$clients" -reps "$reps" -time "$tracker" -peers "$tracker_peers" \
        -torrents "$((tracker_peers / 10))" -work "$work" -into "$results/tracker.json" >/dev/null || failed=1
      keep
      ;;
    firstbyte) load "$1" firstbyte ;;
    api)
      for ((i = 0; i < reps; i++)); do
        load "$1" api -time "${api}s" -mib "$api_mib" -nice "$above"
      done
      ;;
    *) echo "bench: there is no row $1" >&2 && exit 2 ;;
  esac
}

main() {
  many_idle=${BENCH_IDLE:-120} many_count=() idle=${BENCH_IDLE:-60} settle=10 interval=30m api=30 api_mib=1024
  idle_n=${BENCH_IDLE_N:-2000 10000 100000} tracker=5s tracker_peers=1000000
  if [ -n "$quick" ]; then
    many_idle=${BENCH_IDLE:-5} many_count=(--count 100) idle=${BENCH_IDLE:-20} settle=2 interval=30s api=5 api_mib=256
    idle_n=${BENCH_IDLE_N:-200 1000} tracker=1s tracker_peers=100000
  fi
  local new
  new=$(machine "$work/bin/btd")
  if [ -f "$results/machine.json" ] && [ "$(binary <"$results/machine.json")" != "$(binary <<<"$new")" ]; then
    echo "bench: $BENCH_OUT holds results of another btd; medians of both would say nothing" >&2
    exit 1
  fi
  echo "$new" >"$results/machine.json"
  if [ -n "${BENCH_PROFILE:-}" ]; then
    profile
    exit
  fi
  if [ -n "${BENCH_LIMITS:-}" ]; then
    run "$work/bin/limits.all" -disk "$BENCH_DISK" -shm "$BENCH_SHM"
  fi
  rows=("$@")
  if [ ${#rows[@]} -eq 0 ]; then
    rows=(leech-ref seed-ref recheck swarm files many idle tracker firstbyte api)
  fi
  failed=
  for r in "${rows[@]}"; do
    row "$r"
  done
  echo
  /usr/bin/python3 "$work/bin/report.py" "$results"
  # What counts is whether btd came through; the harness reports failed runs and goes on.
  if [ -n "$failed" ] || ! /usr/bin/python3 "$work/bin/report.py" --failed "$results"; then
    exit 1
  fi
}

# On one line, so that the script is read to its end before it begins.
main "$@"; exit
