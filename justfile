# The entry points of daily work. `make demo` and `make test` need nothing of this.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List the recipes.
default:
    @just --list

# Format everything.
fmt:
    cargo fmt --all

# What CI checks before the tests.
lint:
    make lint

# Tests of one crate, or of all.
test crate="":
    if [ -n "{{crate}}" ]; then cargo test -p "{{crate}}"; else make test; fi

# Regenerate the code of the .proto files.
gen:
    cargo xtask gen

# Rewrite the golden texts that tests compare with.
golden:
    cargo xtask golden

# Exactly what CI runs.
ci:
    bash .ci/run

# The binary that ships: thin LTO, one codegen unit, stripped. `just dist full` has every component.
dist features="":
    cargo build --locked --profile dist -p outrigger --features "{{features}}"

# Watches the binary that ships at work and writes the order of its functions, which the next build follows.
layout:
    make bench-tools
    CARGO_PROFILE_DIST_STRIP=none cargo build --locked --profile dist -p outrigger
    ./benches/pair/layout.py target/dist/outrigger

# The micro-benches of the hot path.
bench:
    cargo bench -p outrigger-benches

# One call through two sidecars beside nginx and haproxy with mTLS, in one run.
bench-pair *ARGS: dist
    make bench-tools
    ./benches/pair/bench_pair.py {{ARGS}}

# State in Redis and PostgreSQL through a sidecar, beside direct clients of the same servers, in one run.
bench-state *ARGS: dist
    make bench-tools
    ./benches/state/bench_state.py {{ARGS}}

# Fuzz one target, or each of them, for some seconds.
fuzz target="all" seconds="60":
    ./fuzz/run.sh {{target}} {{seconds}}

# 2 GiB each way through two sidecars with mTLS, and a document of 1 GiB, as they ship: how long, and in how much memory.
streams:
    cargo build --locked --release -p outrigger
    OUTRIGGER_BIN="${CARGO_TARGET_DIR:-target}/release/outrigger" TESTKIT_LONG=1 \
        cargo test --locked --profile ci -p outrigger-tests flat -- --nocapture

# Licences, sources and banned crates; needs cargo-deny.
deny:
    cargo deny check bans licenses sources
