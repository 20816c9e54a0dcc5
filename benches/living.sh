#!/usr/bin/env bash
# What names that live cost, at one provider on loopback: connecting by name, following layers, and watchers of one name.
#
#   benches/living.sh [WATCHERS ...]      1000 and 10000 unless said otherwise, which takes 20,000 open files a process
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
pid=
stop() { if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; pid=; fi; }
trap 'stop; rm -rf "$work"' EXIT
if [ -z "${DIALTONE:-}" ]; then cargo build --release --quiet; DIALTONE=target/release/dialtone; fi
if [ -z "${LIVING:-}" ]; then
    cargo bench --bench living --no-run 2>"$work/build" || { cat "$work/build" >&2; exit 1; }
    LIVING=$(sed -n 's/.*(\(.*living-[^)]*\)).*/\1/p' "$work/build" | tail -1)
fi
printf 'data = "%s"\n[http]\nlisten = ["127.0.0.1:24380"]\n[dns]\nlisten = ["127.0.0.1:24353"]\n[peering]\nlisten = "127.0.0.1:24381"\n[limits]\nhttp_connections = 14000\nhttp_watchers = 12000\n' "$work/data" >"$work/provider.toml"
ulimit -n "$(ulimit -Hn)"
"$DIALTONE" provider --config "$work/provider.toml" >"$work/log" 2>&1 &
pid=$!
until curl -sf "http://127.0.0.1:24380/healthz" >/dev/null; do sleep 0.05; done
for _ in 1 2 3; do "$LIVING" connect 127.0.0.1:24380 5000; done
for _ in 1 2 3; do "$LIVING" layers 127.0.0.1:24380 2000; done
for _ in 1 2 3; do "$LIVING" slow 127.0.0.1:24380 127.0.0.1:24353 1000 500; done
for watchers in "${@:-1000 10000}"; do for count in $watchers; do "$LIVING" watch 127.0.0.1:24380 "$count" 10; done; done
