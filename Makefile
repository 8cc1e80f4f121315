# Two commands for a fresh machine: `make demo` shows the product at work, `make test` proves it.
# Everything else is in the justfile.

CARGO ?= cargo

.PHONY: demo test lint test-tools bench-tools

# Builds the product and shows two apps talk through two sidecars. Needs Rust and a C compiler.
demo:
	@./examples/demo/run.sh

# Installs what the tests need and runs all of them.
test: test-tools
	TESTKIT_REQUIRE=1 ./tests/run.sh

# Format, lints, dependency rules, generated files.
lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --profile ci -- -D warnings
	$(CARGO) clippy --locked -p outrigger-components --all-targets --features full --profile ci -- -D warnings
	$(CARGO) xtask deps
	$(CARGO) xtask gen --check
	$(CARGO) xtask golden --check

# Real observers and unmodified SDKs: Debian, PyPI and npm packages.
test-tools:
	./tests/install.sh

# The peers of `just bench-pair`.
bench-tools:
	./tests/apt.sh nginx-light haproxy wrk nghttp2-client openssl valgrind redis-server postgresql
