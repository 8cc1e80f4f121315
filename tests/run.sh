#!/usr/bin/env bash
# Runs every test: units, processes, SDKs, observers. `make test` installs what they need first.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${TEST_PROFILE:-ci}
cargo build --locked --profile "$profile" -p outrigger -p outrigger-example-store
OUTRIGGER_BIN=$(pwd)/target/$profile/outrigger
export OUTRIGGER_BIN
cargo test --locked --profile "$profile" --workspace
