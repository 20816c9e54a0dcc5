#!/usr/bin/env bash
# Durable puts, and puts and gets of pkarr packets, beside iroh-dns-server, in one run: server on cpu 0, load from cpu 1, rounds interleaved.
#
#   benches/beside.sh [ROUNDS]            medians of ROUNDS (5) as a Markdown table
#
# Needs `iroh-dns-server` on PATH or in IROH (cargo install iroh-dns-server --locked); without it only Dialtone is measured.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5} count=${COUNT:-10000} in_flight=${IN_FLIGHT:-64}
iroh=${IROH:-$(command -v iroh-dns-server || true)}
work=$(mktemp -d)
pids=()
stop() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done; pids=(); }
trap 'stop; rm -rf "$work"' EXIT
if [ -z "${DIALTONE:-}" ]; then cargo build --release --quiet; fi
if [ -z "${LOAD:-}" ]; then
    cargo bench --bench load --no-run 2>"$work/build" || { cat "$work/build" >&2; exit 1; }
    LOAD=$(sed -n 's/.*(\(target[^)]*\)).*/\1/p' "$work/build" | tail -1)
fi
load=$LOAD
open() { for _ in $(seq 100); do (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.1; done; echo "port $1 did not open" >&2; exit 1; }

dialtone() {
    rm -rf "$work/data"
    cat >"$work/provider.toml" <<C
data = "$work/data"
[http]
listen = ["127.0.0.1:24380"]
[dns]
listen = ["127.0.0.1:24353"]
[peering]
listen = "127.0.0.1:24381"
C
    TOKIO_WORKER_THREADS=1 taskset -c 0 "${DIALTONE:-target/release/dialtone}" provider --config "$work/provider.toml" >"$work/dialtone.log" 2>&1 &
    pids=($!)
    open 24380
}
start_iroh() {
    rm -rf "$work/iroh"
    mkdir -p "$work/iroh"
    cat >"$work/iroh/conf" <<C
pkarr_put_rate_limit = "disabled"
data_dir = "$work/iroh/data"
[http]
port = 25380
bind_addr = "127.0.0.1"
[dns]
port = 25353
bind_addr = "127.0.0.1"
default_soa = "ns1.names.example hostmaster.names.example 0 10800 3600 604800 3600"
default_ttl = 3600
origins = ["names.example.", "."]
rr_a = "127.0.0.1"
rr_ns = "ns1.names.example."
[metrics]
disabled = true
[mainline]
enabled = false
C
    TOKIO_WORKER_THREADS=1 RUST_LOG=error taskset -c 0 "$iroh" --config "$work/iroh/conf" >"$work/iroh.log" 2>&1 &
    pids=($!)
    open 25380
}

for round in $(seq "$rounds"); do
    taskset -c 0 "$load" verify | sed "s/^/verify /" >>"$work/rows"
    dialtone
    taskset -c 1 "$load" put 127.0.0.1:24380 "$count" "$in_flight" "${pids[0]}" | sed "s/^/dialtone-put /" >>"$work/rows"
    taskset -c 1 "$load" batch 127.0.0.1:24380 "$count" 256 "${pids[0]}" | sed "s/^/dialtone-batch /" >>"$work/rows"
    stop
    dialtone
    taskset -c 1 "$load" pkarr 127.0.0.1:24380 "$count" "$in_flight" "${pids[0]}" | sed "s/^op=\([a-z-]*\)/dialtone-\1 op=\1/" >>"$work/rows"
    stop
    if [ -n "$iroh" ]; then
        start_iroh
        taskset -c 1 "$load" pkarr 127.0.0.1:25380 "$count" "$in_flight" "${pids[0]}" | sed "s/^op=\([a-z-]*\)/iroh-\1 op=\1/" >>"$work/rows"
        stop
    fi
    echo "round $round of $rounds" >&2
done
awk '
    { what = $1; seen[what] = 1
      for (i = 2; i <= NF; i++) if (split($i, kv, "=") == 2 && kv[2] + 0 == kv[2]) { n[what, kv[1]]++; v[what, kv[1], n[what, kv[1]]] = kv[2] } }
    function median(what, key,   i, j, c, t, a) {
        c = n[what, key]; if (!c) return "-"
        for (i = 1; i <= c; i++) a[i] = v[what, key, i]
        for (i = 1; i <= c; i++) for (j = i + 1; j <= c; j++) if (a[j] < a[i]) { t = a[i]; a[i] = a[j]; a[j] = t }
        return c % 2 ? a[(c + 1) / 2] : (a[c / 2] + a[c / 2 + 1]) / 2
    }
    END {
        print "| what | rate/s | p50 µs | p99 µs | server CPU µs each | errors |\n|---|--:|--:|--:|--:|--:|"
        print "| one strict verification (1 core) | - | " median("verify", "us") " | - | - | - |"
        split("dialtone-put dialtone-batch dialtone-pkarr iroh-pkarr dialtone-pkarr-get iroh-pkarr-get", order, " ")
        for (k = 1; k <= 6; k++) if (order[k] in seen)
            print "| " order[k] " | " median(order[k], "rps") " | " median(order[k], "p50us") " | " median(order[k], "p99us") " | " median(order[k], "server_us") " | " median(order[k], "errors") " |"
    }' "$work/rows"
