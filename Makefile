# The one place for what is run here and in CI. `make` lists the targets.

SHELL := /bin/bash
TOOLS := target/tools
VENV := target/venv
# Home Assistant's own packages, under the one Python that it takes.
HOMEASSISTANT := target/venv-homeassistant
# What the benchmark compares with: programs of Node.js and of Python.
RIVALS := target/rivals
PYTHON ?= python3
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
# Loopback only, and nothing of the user's own environment.
export HEARTHGATE_BIN := $(CURDIR)/target/debug/hearthgate

.DEFAULT_GOAL := help
.PHONY: help check test demo bench bench-rivals micro instructions valgrind fmt clippy docs deny unit sqlite3 simulate e2e mosquitto homeassistant fuzz fuzz-check

help: ## Lists the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check: fmt clippy unit ## The inner loop: format, clippy, unit tests

test: fmt clippy docs deny unit e2e fuzz-check ## Everything, as CI runs it; installs what it needs

demo: ## Shows a gateway and a client over the real protocol
	cargo run --release -- demo

fmt: ## Checks the format
	cargo fmt --all --check

clippy: ## Clippy with warnings as errors
	cargo clippy --workspace --all-targets --keep-going --locked -- -D warnings

docs: ## Builds the documentation with warnings as errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

deny: $(TOOLS)/bin/cargo-deny ## Licences, sources, bans, and advisories where they can be reached
	$(TOOLS)/bin/cargo-deny --locked check --hide-inclusion-graph licenses sources bans
	@if timeout 120 $(TOOLS)/bin/cargo-deny fetch db >/dev/null 2>&1; then \
		$(TOOLS)/bin/cargo-deny --locked check advisories; \
	else echo "advisories: the database cannot be reached from here, not checked"; fi

$(TOOLS)/bin/cargo-deny:
	cargo install --locked --quiet --root $(TOOLS) --target-dir target/tools/build --version $(CARGO_DENY_VERSION) cargo-deny
	rm -rf target/tools/build

unit: sqlite3 ## All Rust tests: with nextest where it is installed, doc tests besides
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace --locked && cargo test --workspace --locked --doc --quiet; \
	else cargo test --workspace --locked; fi

simulate: ## Thousands of seeded runs of the simulation, optimised
	cargo test --release --locked -p hearthgate-testkit --test simulation -- --nocapture

bench: bench-rivals mosquitto ## Compares with Mosquitto, Node.js, Python and bare loops; writes docs/benchmarks.md. BENCH="hub start" chooses
	cargo build --release --locked -p hearthgate
	HEARTHGATE_BIN=$(CURDIR)/target/release/hearthgate HEARTHGATE_RIVALS=$(CURDIR)/$(RIVALS) \
		cargo bench --locked -p hearthgate-bench --bench compare -- $(BENCH)

micro: ## Times the small parts of the hot paths, and their ratios to peers
	cargo bench --locked -p hearthgate-bench --bench micro

instructions: valgrind ## Counts the instructions of the small parts against the committed numbers; UPDATE=1 commits to new ones
	cargo bench --locked -p hearthgate-bench --bench instructions -- $(if $(UPDATE),--update)

valgrind:
	@command -v valgrind >/dev/null || (apt-get update -qq && apt-get install -y -qq valgrind)

# The program that a history must open in.
sqlite3:
	@command -v sqlite3 >/dev/null || (apt-get update -qq && apt-get install -y -qq sqlite3)

e2e: $(VENV)/ready mosquitto homeassistant ## The independent second implementation against the binary
	cargo build --locked --workspace --all-targets  # as the Rust tests were built: nothing is compiled twice
	@command -v ip strace >/dev/null || (apt-get update -qq && apt-get install -y -qq iproute2 strace) || true  # else their tests say so
	$(VENV)/bin/python -m pytest e2e --quiet

mosquitto:
	@test -x /usr/sbin/mosquitto || command -v mosquitto >/dev/null || (apt-get update -qq && apt-get install -y -qq mosquitto)

homeassistant: $(HOMEASSISTANT)/ready

fuzz-check: ## Compiles the fuzz targets and replays their corpus
	CARGO_TARGET_DIR=target/fuzz cargo check --manifest-path fuzz/Cargo.toml --all-features --locked --quiet
	CARGO_TARGET_DIR=target/fuzz cargo test --manifest-path fuzz/Cargo.toml --locked --quiet

fuzz: $(TOOLS)/bin/cargo-fuzz ## Runs each fuzz target for a minute; finds go to target/fuzz/found
	@set -e; for target in frame message schema beacon handshake; do \
		echo "== $$target"; \
		mkdir -p target/fuzz/found/$$target; \
		RUSTC_BOOTSTRAP=1 $(TOOLS)/bin/cargo-fuzz run --fuzz-dir fuzz --target-dir target/fuzz --features fuzzing $$target \
			target/fuzz/found/$$target fuzz/corpus/$$target -- -max_total_time=60; \
	done

$(TOOLS)/bin/cargo-fuzz:
	cargo install --locked --quiet --root $(TOOLS) --target-dir target/tools/build --version $(CARGO_FUZZ_VERSION) cargo-fuzz
	rm -rf target/tools/build

$(VENV)/ready: e2e/requirements.txt
	$(PYTHON) -m venv $(VENV) || (apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV))
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement e2e/requirements.txt
	touch $@

$(HOMEASSISTANT)/ready: e2e/requirements-homeassistant.txt e2e/harness/find_python.py
	set -e; python=$$($(PYTHON) e2e/harness/find_python.py) || \
		{ apt-get update -qq && apt-get install -y -qq python3.13-venv && python=$$($(PYTHON) e2e/harness/find_python.py); }; \
		$$python -m venv --clear $(HOMEASSISTANT)
	$(HOMEASSISTANT)/bin/pip install --quiet --disable-pip-version-check --requirement e2e/requirements-homeassistant.txt
	touch $@

bench-rivals: $(RIVALS)/node/ready $(RIVALS)/python/ready ## Installs what the benchmark compares with

$(RIVALS)/node/ready: $(wildcard crates/bench/rivals/node/*.js*)
	@{ command -v node && command -v npm; } >/dev/null || (apt-get update -qq && apt-get install -y -qq nodejs npm)
	mkdir -p $(@D)
	cp $^ $(@D)/  # Node.js looks for packages beside the program
	npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --silent
	touch $@

$(RIVALS)/python/ready: crates/bench/rivals/python/requirements.txt
	$(PYTHON) -m venv $(@D) || (apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(@D))
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@
