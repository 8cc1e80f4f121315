#!/usr/bin/env bash
# Fuzzes a target, or each of them in turn: fuzz/run.sh TARGET|all [SECONDS]. Works on stable Rust.
# New inputs are kept in fuzz/corpus/<target>; an input that breaks a target is left in fuzz/artifacts/<target>.
set -euo pipefail
cd "$(dirname "$0")"
target=${1:?usage: run.sh TARGET|all [SECONDS]}
seconds=${2:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
# What libFuzzer needs of the compiler. AddressSanitizer would need nightly, and our code has no `unsafe`.
coverage="-Cpasses=sancov-module"
for argument in level=4 inline-8bit-counters pc-table trace-compares; do
    coverage+=" -Cllvm-args=-sanitizer-coverage-$argument"
done
export RUSTFLAGS="$coverage --cfg fuzzing"
export CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-$PWD/target}

targets=("$target")
if [ "$target" = all ]; then
    targets=()
    for file in targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi
cargo build --quiet --release --target "$host" "${targets[@]/#/--bin=}"
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    echo "fuzzing $target for $seconds s"
    "$CARGO_TARGET_DIR/$host/release/$target" "corpus/$target" "seeds/$target" \
        -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" -max_len=16384 \
        -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
