# The one place for what is run here and in CI. `make` lists the targets.

SHELL := /bin/bash
TOOLS := target/tools
VENV := target/venv
HA_VENV := target/venv-ha
PYTHON ?= python3
CARGO_DENY_VERSION := 0.20.2
# Loopback only, and nothing of the user's own environment.
export HEARTHGATE_BIN := $(CURDIR)/target/debug/hearthgate

.DEFAULT_GOAL := help
.PHONY: help check test demo fmt clippy docs deny unit e2e mosquitto fuzz fuzz-check

help: ## Lists the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

unit: ## All Rust tests: with nextest where it is installed, doc tests besides
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace --locked && cargo test --workspace --locked --doc --quiet; \
	else cargo test --workspace --locked; fi

e2e: $(VENV)/ready $(HA_VENV)/ready mosquitto ## The independent second implementation, Mosquitto and Home Assistant against the binary
	cargo build --locked --bin hearthgate
	$(VENV)/bin/python -m pytest e2e --quiet

fuzz-check: ## Compiles the fuzz targets and replays their corpus
	CARGO_TARGET_DIR=target/fuzz cargo check --manifest-path fuzz/Cargo.toml --all-features --locked --quiet
	CARGO_TARGET_DIR=target/fuzz cargo test --manifest-path fuzz/Cargo.toml --locked --quiet

fuzz: $(TOOLS)/bin/cargo-fuzz ## Runs each fuzz target for a minute
	@set -e; for target in frame message schema beacon handshake; do \
		echo "== $$target"; \
		RUSTC_BOOTSTRAP=1 $(TOOLS)/bin/cargo-fuzz run --fuzz-dir fuzz --target-dir target/fuzz --features fuzzing $$target -- -max_total_time=60; \
	done

$(TOOLS)/bin/cargo-fuzz:
	cargo install --locked --quiet --root $(TOOLS) --target-dir target/tools/build cargo-fuzz
	rm -rf target/tools/build

$(VENV)/ready: e2e/requirements.txt
	$(PYTHON) -m venv $(VENV) || (apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV))
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement e2e/requirements.txt
	touch $@

mosquitto:
	@command -v mosquitto >/dev/null || (apt-get update -qq && apt-get install -y -qq mosquitto)

# The newest Home Assistant that the newest Python of this machine takes.
$(HA_VENV)/ready: e2e/ha_requirements.py
	$$(e2e/newest_python.sh) -m venv $(HA_VENV)
	$(HA_VENV)/bin/pip install --quiet --disable-pip-version-check homeassistant
	$(HA_VENV)/bin/python e2e/ha_requirements.py > $(HA_VENV)/requirements.txt
	$(HA_VENV)/bin/pip install --quiet --disable-pip-version-check --requirement $(HA_VENV)/requirements.txt
	touch $@
