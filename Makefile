# What one does here. Everything runs from a fresh clone with Rust and Python 3 and sets up what it needs.

CARGO ?= cargo
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
CORPUS ?= ../shared/conformance
NAB ?= ../shared/nab
SCORES ?= target/nab-scores
KILLS ?= 300
BIN := target/release/sideband
# Made by `cargo test` beside the tests; `cargo build` would build half of the dependencies again, since the
# tests ask some of them for more features.

.PHONY: help build run demo test crash lint fmt conformance interop nab sigma bench clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## the release binary, target/release/sideband
	$(CARGO) build --release --locked

run: build ## watch this host, sideband itself, and a Flask app on localhost:8080 once there is one
	$(BIN) --config.file=config/sideband.yml --storage.path=data

demo: build $(VENV)/.ready ## a Flask app is slowed down; see who is paged, and when (under 5 minutes)
	$(PY) deploy/demo/demo.py --binary $(BIN)

test: $(VENV)/.ready ## unit, integration and end-to-end tests
	$(CARGO) test --locked
	$(PY) tests/e2e/run.py --binary target/debug/sideband
	$(PY) tests/crash/run.py --binary target/debug/sideband --kills 20

crash: $(VENV)/.ready ## kill -9 at random moments against a failing pager: make crash KILLS=300
	$(CARGO) test --locked --no-run
	$(PY) tests/crash/run.py --binary target/debug/sideband --kills $(KILLS) --seed $$(od -An -N3 -tu4 /dev/urandom)

lint: ## formatting and clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test conformance -- -D warnings

fmt:
	$(CARGO) fmt --all

conformance: ## the peers' own test data: make conformance CORPUS=DIR
	$(CARGO) test --locked --test conformance -- $(CORPUS)

interop: $(VENV)/.ready ## real Prometheus, promtool, Alertmanager and node_exporter (Debian, root or sudo)
	$(CARGO) test --locked --no-run
	sh tests/interop/install.sh
	$(PY) tests/interop/run.py --binary target/debug/sideband

nab: build ## the detector's score on labelled series: make nab NAB=DIR SCORES=DIR
	$(BIN) backtest tests/nab/rules.yml --csv $(NAB)/data --scores $(SCORES) \
		--labels $(NAB)/labels/combined_windows.json
	$(PYTHON) $(NAB)/nab_score.py --data $(NAB)/data --labels $(NAB)/labels/combined_windows.json \
		--results $(SCORES) --profile all --threshold 0.5 --pages --coin 1000

sigma: ## every model on a billion samples of noise, and on incidents (SIGMA_TABLES=1 writes tests/golden/sigma_*.tsv)
	$(CARGO) test --locked --release --test behaviour the_whole_suite -- --ignored --nocapture

bench: ## criterion benches
	$(CARGO) bench --locked

$(VENV)/.ready: deploy/demo/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r deploy/demo/requirements.txt
	touch $@

clean:
	$(CARGO) clean
	rm -rf $(VENV) data
