# Stepwell. `make demo` shows it at work, `make test` passes the tests; both set up all they need.
# Everything goes into this folder: target/ (or CARGO_TARGET_DIR) and .venv/.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
CARGO ?= cargo
export CARGO_INCREMENTAL ?= 0
# DataFusion at opt-level 0 takes deep stacks.
export RUST_MIN_STACK ?= 16777216
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),$(CURDIR)/target)
VENV := $(CURDIR)/.venv
VENV_MLMD := $(CURDIR)/.venv/mlmd
# An environment of its own: the optimised wheel is not the one of the tests.
VENV_BENCH := $(CURDIR)/.venv/bench
# A server of S3, for the tests of remotes.
VENV_MOTO := $(CURDIR)/.venv/moto
KILLS ?= 10000
CUTS ?= 1000
INJECTIONS ?= 1920
FORKS ?= 1000
HISTORIES ?= 10000
# 0: every case there is, about 390,000.
CORRUPTIONS ?= 0
FUZZ_SECS ?= 120
FUZZ_TARGETS ?= journal event_log segment sql

.PHONY: help demo test check fmt rust-test model-test python python-test recipes-test mlmd-test lineage-test cmf-test cmflib-test peers-test report-test report executions kill powercut faults processes snapshots network corruption fuzz simulate loom shuttle tsan miri bench bench-full bench-engine bench-log bench-instructions bench-python bench-peers bench-sql bench-cmf release wheel clean

help: ## This list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Train on real digits, kill a run, recover it, import 36 real runs, ask SQL
	$(CARGO) build --locked --workspace --bins
	$(TARGET)/debug/stepwell demo

test: check rust-test model-test python-test recipes-test mlmd-test lineage-test cmf-test peers-test report-test ## Everything: formatting, lints, Rust, campaigns, Python, other engines, ml-metadata
	@echo "all tests passed"

check: ## Formatting, clippy, rustdoc, file lengths
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items --quiet
	$(PYTHON) tests/lengths.py

fmt: ## Format the Rust code
	$(CARGO) fmt --all

rust-test: $(VENV_MOTO)/.tools ## Unit, integration and documentation tests; a short form of each campaign
	$(CARGO) test --locked --workspace

# Features and flags differ from the workspace's, so each checker has a target folder of its own.
MODEL := $(CARGO) test --locked -p stepwell-model --target-dir $(TARGET)/model

model-test: ## The ring under loom and shuttle, short form
	$(MODEL) --features loom --test ring-loom -- --nocapture
	$(MODEL) --features shuttle --test ring-shuttle -- --nocapture

loom: ## The ring under loom, full form: every order with up to 3 preemptions
	STEPWELL_PREEMPTIONS=3 $(MODEL) --release --features loom --test ring-loom -- --nocapture --include-ignored

shuttle: ## The ring under shuttle: 100,000 random schedules
	STEPWELL_SCHEDULES=100000 $(MODEL) --release --features shuttle --test ring-shuttle -- --nocapture

tsan: ## The ring under ThreadSanitizer
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" TSAN_OPTIONS=halt_on_error=1 \
		$(CARGO) run --locked -p stepwell-model --bin ring-threads --target $$(rustc -vV | sed -n 's/host: //p') --target-dir $(TARGET)/tsan

miri: ## The ring under Miri; needs a nightly toolchain with miri
	MIRIFLAGS=-Zmiri-many-seeds=0..64 $(CARGO) +nightly miri test --locked -p stepwell-model --test ring --target-dir $(TARGET)/miri

python: $(VENV)/.wheel ## Build the wheel in the dev profile and install it into .venv

$(VENV)/.tools: python/requirements-test.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r python/requirements-test.txt
	touch $@

# The wheel depends on every crate below it; cargo knows what is fresh, so it is always asked.
.PHONY: $(VENV)/.wheel
$(VENV)/.wheel: $(VENV)/.tools
	rm -rf $(TARGET)/wheels-dev
	cd python && $(VENV)/bin/maturin build --quiet --locked --profile dev --interpreter $(VENV)/bin/python --out $(TARGET)/wheels-dev
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps $(TARGET)/wheels-dev/*.whl

python-test: python ## Python tests in .venv with the built wheel
	cd python/tests && $(VENV)/bin/python -m pytest -q

recipes-test: $(VENV)/.tools ## The recipes of docs/RECIPES.md: the questions of tests/sql with DuckDB and Polars
	rm -rf $(TARGET)/recipes && mkdir -p $(TARGET)/recipes
	STEPWELL_SLT_KEEP=$(TARGET)/recipes $(CARGO) test --locked --workspace --test slt stores_are_kept -- --ignored
	STEPWELL_SLT_KEEP=$(TARGET)/recipes $(VENV)/bin/python -W error -m pytest -q -p no:cacheprovider tests/recipes

peers-test: python ## The suite that measures other trackers, in a tiny form with the floors and Stepwell
	STEPWELL_WHEEL=$$(echo $(TARGET)/wheels-dev/*.whl) PEERS_VENVS=$(CURDIR)/.venv/peers \
		$(VENV)/bin/python -m pytest -q -p no:cacheprovider benches/peers/tests

report-test: $(VENV)/.tools ## BENCHMARKS.md and the README's tables are what the raw records say
	$(PYTHON) benches/report/report.py --check
	$(VENV)/bin/python -m pytest -q -p no:cacheprovider benches/report/tests

report: ## Write BENCHMARKS.md, its pictures and the README's tables from benches/results
	$(PYTHON) benches/report/report.py

$(VENV_MLMD)/.tools: tests/mlmd/requirements.txt | $(VENV)/.tools
	$(PYTHON) -m venv $(VENV_MLMD)
	$(VENV_MLMD)/bin/pip install --quiet --disable-pip-version-check -r tests/mlmd/requirements.txt
	touch $@

$(VENV_MOTO)/.tools: remote/tests/requirements.txt
	$(PYTHON) -m venv $(VENV_MOTO)
	$(VENV_MOTO)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

cmf-test: python ## CMF's example pipeline on stepwell.cmf, and on cmflib where its environment is there
	$(VENV)/bin/python -m pytest -q -s -p no:cacheprovider tests/cmf_pipeline

# cmflib needs Python 3.11 and a gigabyte, so that it is no part of `make test`.
VENV_CMFLIB := $(CURDIR)/.venv/cmflib
$(VENV_CMFLIB)/.tools: tests/cmflib/requirements.txt
	$(PYTHON) -m venv $(VENV_CMFLIB)
	$(VENV_CMFLIB)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

cmflib-test: $(VENV_CMFLIB)/.tools ## The real cmflib reads what `stepwell export cmf` writes; needs Python 3.11
	$(CARGO) test --locked --workspace --test it --no-run
	STEPWELL_BIN=$(TARGET)/debug/stepwell $(VENV_CMFLIB)/bin/python -m pytest -q -p no:cacheprovider tests/cmflib

VENV_LINEAGE := $(CURDIR)/.venv/lineage
$(VENV_LINEAGE)/.tools: tests/lineage/requirements.txt
	$(PYTHON) -m venv $(VENV_LINEAGE)
	$(VENV_LINEAGE)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

lineage-test: $(VENV_LINEAGE)/.tools ## Lineage in a real Cypher database over Bolt, and in other readers
	rm -rf $(TARGET)/lineage && mkdir -p $(TARGET)/lineage
	STEPWELL_LINEAGE_KEEP=$(TARGET)/lineage $(CARGO) test --locked --workspace --test it lineage_stores_are_kept -- --ignored
	STEPWELL_BIN=$(TARGET)/debug/stepwell STEPWELL_LINEAGE_KEEP=$(TARGET)/lineage $(VENV_LINEAGE)/bin/python -m pytest -q -p no:cacheprovider tests/lineage

# ml-metadata has wheels for CPython 3.10 and 3.11 only; with another Python its test is left out, and said so.
mlmd-test: python ## ml-metadata's own library reads the catalog
	@if $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))'; then \
		$(MAKE) --no-print-directory mlmd-test-run; \
	else echo "ml-metadata has no wheel for $$($(PYTHON) --version): its test is left out"; fi

.PHONY: mlmd-test-run
mlmd-test-run: $(VENV_MLMD)/.tools
	rm -rf $(TARGET)/mlmd && mkdir -p $(TARGET)/mlmd
	$(VENV)/bin/python tests/mlmd/make_store.py $(TARGET)/mlmd/store $(TARGET)/mlmd/expected.json
	STEPWELL_MLMD_STORE=$(TARGET)/mlmd/store STEPWELL_MLMD_EXPECTED=$(TARGET)/mlmd/expected.json \
		$(VENV_MLMD)/bin/python -m pytest -q -p no:cacheprovider tests/mlmd

kill: ## 10,000 kills (KILLS=n), each followed by recovery and a full check
	STEPWELL_KILLS=$(KILLS) $(CARGO) test --locked --workspace --test crash -- --nocapture

powercut: ## 1,000 power cuts per file system (CUTS=n); needs root
	STEPWELL_CUTS=$(CUTS) $(CARGO) test --locked --workspace --test powercut -- --nocapture

faults: ## Full disks, lost folders and 1,920 injected failures (INJECTIONS=n); needs root and strace
	STEPWELL_INJECTIONS=$(INJECTIONS) $(CARGO) test --locked --workspace --test faults -- --nocapture

processes: ## 1,000 forks (FORKS=n), stops, stepped clocks, claims
	STEPWELL_FORKS=$(FORKS) $(CARGO) test --locked --workspace --test processes -- --nocapture

network: ## Stores on a FUSE mount that refuses mappings, 200 kills (NETWORK_KILLS=n); needs root
	STEPWELL_NETWORK_KILLS=$(or $(NETWORK_KILLS),200) $(CARGO) test --locked --workspace --test network -- --nocapture

corruption: ## Every byte of every kind of file, cut off and changed (CORRUPTIONS=n: a sample)
	STEPWELL_CORRUPTIONS=$(CORRUPTIONS) $(CARGO) test --locked --workspace --test corruption -- --nocapture

# cargo-fuzz builds on the stable toolchain, without a sanitizer.
fuzz: ## libFuzzer on journals, event logs, segments and SQL, FUZZ_SECS=n each
	$(CARGO) install --quiet --locked --root $(TARGET)/tools cargo-fuzz@0.13.2
	for target in $(FUZZ_TARGETS); do \
		PATH="$(TARGET)/tools/bin:$$PATH" $(CARGO) fuzz run --fuzz-dir tests/fuzz --target-dir $(TARGET)/fuzz -s none \
			$$([ $$target != sql ] || echo --features sql) $$target \
			-- -max_total_time=$(FUZZ_SECS) -max_len=16384 -timeout=60 -rss_limit_mb=4096; \
	done

simulate: ## 30,000 simulated histories (HISTORIES=n of each kind)
	STEPWELL_HISTORIES=$(HISTORIES) $(CARGO) test --locked --workspace --lib simulation -- --nocapture --test-threads=1

bench: ## Measure everything in a quick form, at most 15 minutes once it is built: the engine, Python, SQL, the peers; then the report
	$(MAKE) --no-print-directory bench-engine bench-log bench-instructions bench-python bench-peers QUICK=1
	$(MAKE) --no-print-directory bench-sql SQL_SIZES=nanogpt QUICK=1

bench-full: ## The same in full, for figures to quote: about two hours
	$(MAKE) --no-print-directory bench-engine bench-log bench-instructions bench-python bench-sql bench-cmf
	$(MAKE) --no-print-directory bench-peers FULL=1

RESULTS := $(CURDIR)/benches/results
QUICK ?=

bench-engine: ## Measure: percentiles of the log call, sealing, recovery, catalog, sustained rate (QUICK=1: less of each)
	$(CARGO) build --locked --release -p stepwell-benches
	$(TARGET)/release/latency $(if $(QUICK),--seconds 2) --json $(RESULTS)/latency.json
	$(TARGET)/release/beside $(if $(QUICK),--seconds 1 --rounds 3) --json $(RESULTS)/beside.json
	$(TARGET)/release/throughput $(if $(QUICK),--records 10000000) --json $(RESULTS)/throughput.json
	$(TARGET)/release/sealing $(if $(QUICK),--rounds 3 --commits 3) --json $(RESULTS)/sealing.json
	$(TARGET)/release/recovery $(if $(QUICK),--rounds 3) --json $(RESULTS)/recovery.json
	$(TARGET)/release/catalog $(if $(QUICK),--runs 1000 --rounds 3) --json $(RESULTS)/catalog.json
	$(PYTHON) benches/report/report.py

bench-log: ## Measure: the mean of a log call beside the least it could cost, queues and a file appender (criterion; QUICK=1)
	STEPWELL_BENCH_JSON=$(RESULTS)/log.json $(CARGO) bench --locked -p stepwell-benches --bench log -- --noplot \
		$(if $(QUICK),--warm-up-time 0.2 --measurement-time 0.5 --sample-size 10)
	$(PYTHON) benches/report/report.py

bench-instructions: ## Count: instructions of a log call, against the stored bound; needs valgrind
	$(CARGO) run --locked --release -p stepwell-benches --bin instructions -- --check benches/results/instructions.json

bench-python: $(VENV_BENCH)/.wheel ## Measure: what a call costs in Python, beside the floors of the interpreter
	$(VENV_BENCH)/bin/python benches/python/call.py --json $(RESULTS)/python.json
	$(PYTHON) benches/report/report.py

PEERS ?=

bench-peers: wheel ## Measure: what logging costs and what survives SIGKILL, beside eleven other trackers (PEERS=a,b: these; FULL=1: all of it)
	$(PYTHON) benches/peers/run.py --wheel $(TARGET)/wheels/*.whl --venvs $(CURDIR)/.venv/peers --json benches/results/peers.json \
		$(if $(FULL),--full,--quick) $(if $(PEERS),--peers $(PEERS))
	$(PYTHON) benches/report/report.py

bench-cmf: $(VENV_BENCH)/.wheel $(VENV_CMFLIB)/.tools ## Measure: CMF's calls with cmflib and with stepwell.cmf; needs Python 3.11
	$(VENV_BENCH)/bin/pip install --quiet --disable-pip-version-check -r benches/cmf/requirements.txt
	STEPWELL_CMFLIB_PYTHON=$(VENV_CMFLIB)/bin/python $(VENV_BENCH)/bin/python benches/cmf/bench.py --json $(RESULTS)/cmf.json
	$(PYTHON) benches/report/report.py

SQL_SIZES ?= nanogpt,many,short,long

.PHONY: $(VENV_BENCH)/.wheel
$(VENV_BENCH)/.wheel: wheel
	test -x $(VENV_BENCH)/bin/python || $(PYTHON) -m venv $(VENV_BENCH)
	$(VENV_BENCH)/bin/pip install --quiet --disable-pip-version-check -r benches/sql/requirements.txt
	$(VENV_BENCH)/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps $(TARGET)/wheels/*.whl

snapshots: $(VENV_BENCH)/.wheel ## SQL at 200 moments while 4 processes log 250,000 records a second each and one compacts, for a minute
	cd python/tests && STEPWELL_SNAPSHOT_SECONDS=60 STEPWELL_SNAPSHOTS=200 STEPWELL_SNAPSHOT_RATE=250000 STEPWELL_SNAPSHOT_GRACE_SECS=5 \
		$(VENV_BENCH)/bin/python -m pytest -q -s test_snapshots.py

executions: python ## 1,000 executions with artifacts logged by 16 processes at once (EXECUTIONS=n)
	cd python/tests && STEPWELL_EXECUTIONS=$(or $(EXECUTIONS),1000) $(VENV)/bin/python -m pytest -q test_many_executions.py

bench-sql: $(VENV_BENCH)/.wheel ## Measure: the same questions asked with Stepwell and with DuckDB; log calls beside SQL
	$(VENV_BENCH)/bin/python benches/sql/bench.py --sizes $(SQL_SIZES) \
		--store-folder $(TARGET)/bench-sql --json benches/results/sql.json
	$(if $(QUICK),,$(VENV_BENCH)/bin/python benches/sql/beside.py)
	$(PYTHON) benches/report/report.py

release: ## The fully optimised command line
	$(CARGO) build --locked --release -p stepwell-cli

wheel: $(VENV)/.tools ## The fully optimised wheel, in target/wheels
	cd python && $(VENV)/bin/maturin build --locked --release --interpreter $(VENV)/bin/python --out $(TARGET)/wheels

clean: ## Remove what was built
	$(CARGO) clean
	rm -rf $(VENV)
