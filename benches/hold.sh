#!/usr/bin/env bash
# What peering must hold, measured with real providers on loopback: each in a row of its own.
#
#   benches/hold.sh [ROUNDS]      ROUNDS (3): every measurement, so many times
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
build=$(mktemp)
trap 'rm -f "$build"' EXIT
cargo bench --bench peering --no-run 2>"$build" || { cat "$build" >&2; exit 1; }
peering=$(sed -n 's/.*(\(.*peering-[^)]*\)).*/\1/p' "$build" | tail -1)
for _ in $(seq "$rounds"); do
    "$peering" catchup 200000 apart
    "$peering" catchup 200000 together 0
    for shape in mesh peers ring; do "$peering" values "$shape" 8 200; done
    "$peering" hub 10 100
    "$peering" idle 0 60
    "$peering" idle 10000 60
    "$peering" hostile replayed 1000000
    "$peering" hostile forged 1000000
done
