#!/usr/bin/env bash
# Builds the product and the demo with a progress line, then runs the demo.
set -euo pipefail
cd "$(dirname "$0")/../.."
start=$(date +%s)
if [ -t 2 ]; then
    echo "building outrigger (the first time takes a few minutes)"
    cargo build --locked --release -p outrigger -p outrigger-demo
else
    echo "building outrigger (the first time takes a few minutes)"
    cargo build --locked --release -p outrigger -p outrigger-demo 2>&1 |
        awk '/Compiling/ { n++; if (n % 25 == 0) print "  … " n " packages compiled" } /^(error|warning: unused)/ { print }'
fi
echo "built in $(($(date +%s) - start)) s"
OUTRIGGER_BIN="${CARGO_TARGET_DIR:-target}/release/outrigger" exec "${CARGO_TARGET_DIR:-target}/release/outrigger-demo"
