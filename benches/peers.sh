#!/usr/bin/env bash
# Two peered providers on loopback: put at A to visible at B, stub lookups, and how fast a new peer catches up.
#
#   benches/peers.sh [RECORDS]      RECORDS (200000) wait at A when B meets it for the first time
set -euo pipefail
cd "$(dirname "$0")/.."
records=${1:-200000}
work=$(mktemp -d)
pids=()
stop() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done; pids=(); }
trap 'stop; rm -rf "$work"' EXIT
if [ -z "${DIALTONE:-}" ]; then cargo build --release --quiet; DIALTONE=target/release/dialtone; fi
if [ -z "${LOAD:-}" ]; then
    cargo bench --bench load --no-run 2>"$work/build" || { cat "$work/build" >&2; exit 1; }
    LOAD=$(sed -n 's/.*(\(.*load-[^)]*\)).*/\1/p' "$work/build" | tail -1)
fi
# settings NAME HTTP DNS PEERING
settings() {
    printf 'data = "%s"\n[http]\nlisten = ["127.0.0.1:%s"]\n[dns]\nlisten = ["127.0.0.1:%s"]\n[peering]\nlisten = "127.0.0.1:%s"\n' "$work/$1" "$2" "$3" "$4" >"$work/$1.toml"
}
start() { "$DIALTONE" provider --config "$work/$1.toml" >"$work/$1.log" 2>&1 & pids+=($!); until curl -sf "http://127.0.0.1:$2/healthz" >/dev/null; do sleep 0.05; done; }
name() { curl -s "http://127.0.0.1:$1/v1/info" | sed 's/.*"name":"\([^"]*\)".*/\1/'; }
held() { curl -s "http://127.0.0.1:$1/metrics" | awk '$1 ~ /^dialtone_records/ {print int($2)}'; }

settings a 24380 24353 24381
settings b 25380 25353 25381
mkdir -p "$work/a"
"$LOAD" fill "$work/a/store" "$records"
start a 24380; a=$(name 24380); stop
start b 25380; b=$(name 25380); stop
printf '[[peer]]\nname = "%s"\naddresses = ["127.0.0.1:25381"]\n' "$b" >>"$work/a.toml"
printf '[[peer]]\nname = "%s"\naddresses = ["127.0.0.1:24381"]\n' "$a" >>"$work/b.toml"
"$LOAD" verify
start a 24380
start b 25380
from=$(date +%s%N)
while [ "$(held 25380)" -lt "$records" ]; do sleep 0.25; done   # seldom: asking costs a process
took=$((($(date +%s%N) - from) / 1000))
echo "op=catch-up n=$records secs=$(awk -v t=$took 'BEGIN{printf "%.2f", t/1e6}') rps=$(awk -v t=$took -v n="$records" 'BEGIN{printf "%.0f", n/(t/1e6)}')"
for _ in 1 2 3; do "$LOAD" visible 127.0.0.1:24380 127.0.0.1:25380 1000 8; done
"$LOAD" stub 127.0.0.1:25380 3000
