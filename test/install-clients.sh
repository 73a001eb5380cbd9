#!/usr/bin/env bash
# Installs what the suites with real clients need (test/interop, test/lan, test/bench) from Debian's packages.
#
# No packaged service is started: while apt works, a policy-rc.d that answers 101 ("forbidden by policy") stands in
# the way of every start. It is taken away afterwards, and a policy that was there before is put back.
# With everything already there, nothing is touched and nothing is printed.
#
#   test/install-clients.sh            clients and tools of the interop suite
#   test/install-clients.sh --check    install nothing; exit 1 and name what is missing
#   test/install-clients.sh --npm DIR  put npm's bittorrent-tracker into DIR, and nothing else; exit 1 and say why if it can't be had
set -euo pipefail

if [ "${1:-}" = --npm ]; then
  if ! command -v npm >/dev/null; then
    echo "npm is not installed" >&2
    exit 1
  fi
  mkdir -p "$2"
  # What the package would run at its installation is of no use here, and nobody has looked at it. Version 11 needs it.
  for n in 1 2 3 4; do
    # What one that was cut off leaves behind, the next would take for whole.
    rm -rf "${2:?}/node_modules" "$2/cache" "$2"/package*.json
    if timeout -k 5 90 npm install --prefix "$2" --cache "$2/cache" --ignore-scripts --no-audit --no-fund --no-update-notifier \
      --loglevel=error bittorrent-tracker@10.0.12 </dev/null >/dev/null &&
      node --input-type=module -e 'await import(process.argv[1]); process.exit(0)' "$(realpath "$2")/node_modules/bittorrent-tracker/index.js" </dev/null; then
      break
    fi
    if [ "$n" -eq 4 ]; then
      echo "npm can't fetch bittorrent-tracker" >&2
      exit 1
    fi
    sleep $((n * n * 3)) # networks fail for a moment
  done
  rm -rf "${2:?}/cache"
  exit 0
fi

# command:package. A name that begins with py: is a module of /usr/bin/python3.
wanted=(
  transmission-daemon:transmission-daemon
  transmission-remote:transmission-cli
  aria2c:aria2
  rtorrent:rtorrent
  qbittorrent-nox:qbittorrent-nox
  py:libtorrent:python3-libtorrent
  opentracker:opentracker
  mktorrent:mktorrent
  node:nodejs
  npm:npm
  ip:iproute2
  tc:iproute2
  unshare:util-linux
  gcc:gcc
  /usr/include/stdio.h:libc6-dev
)

missing() {
  local entry what package
  for entry in "${wanted[@]}"; do
    package=${entry##*:}
    what=${entry%:*}
    case $what in
      py:*) /usr/bin/python3 -c "import ${what#py:}" 2>/dev/null || echo "$package" ;;
      /*) [ -e "$what" ] || echo "$package" ;;
      *) PATH=$PATH:/usr/sbin:/sbin command -v "$what" >/dev/null || echo "$package" ;;
    esac
  done
}

mapfile -t packages < <(missing)
if [ ${#packages[@]} -eq 0 ]; then
  exit 0
fi
if [ "${1:-}" = --check ]; then
  echo "missing: ${packages[*]}" >&2
  exit 1
fi
if [ "$(uname -s)" != Linux ] || ! command -v apt-get >/dev/null; then
  echo "install-clients: only Debian and its relatives (apt-get) are supported; missing: ${packages[*]}" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "install-clients: must be root to install: ${packages[*]}" >&2
  exit 1
fi

policy=/usr/sbin/policy-rc.d
log=$(mktemp)
made_policy=
cleanup() {
  if [ -n "$made_policy" ]; then
    rm -f "$policy"
    if [ -e "$policy.before-btd" ]; then
      mv "$policy.before-btd" "$policy"
    fi
  fi
  rm -f "$log"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

answer=0
if [ -x "$policy" ]; then
  "$policy" transmission-daemon start >/dev/null 2>&1 || answer=$?
fi
if [ "$answer" -ne 101 ]; then
  if [ -e "$policy" ]; then
    mv "$policy" "$policy.before-btd"
  fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  made_policy=yes
fi

export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=180 -o Dpkg::Use-Pty=0)

# try N CMD...: up to N times with growing pauses; networks fail for a moment, and others have apt's locks for a while.
try() {
  local n most=$1
  shift
  for ((n = 1; n <= most; n++)); do
    if "$@" >"$log" 2>&1 </dev/null; then
      return 0
    fi
    if [ "$n" -lt "$most" ]; then
      echo "install-clients: '$*' did not work (try $n of $most): $(tail -n 1 "$log")" >&2
      sleep $((n < 6 ? n * n * 2 : 60))
    fi
  done
  cat "$log" >&2
  return 1
}

echo "installing: ${packages[*]}"
# A source that the packages are not from may be broken.
try 4 "${apt[@]}" update || echo "install-clients: going on with the package lists as they are" >&2
try 6 "${apt[@]}" install -y --no-install-recommends "${packages[@]}"

mapfile -t packages < <(missing)
if [ ${#packages[@]} -ne 0 ]; then
  echo "install-clients: still missing after the installation: ${packages[*]}" >&2
  exit 1
fi
