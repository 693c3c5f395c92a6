# Chores. `make help` lists them.

# Everything that is given to the demo, e.g. make demo DEMO_ARGS='--regions 5 --keep --dir /tmp/demo'
DEMO_ARGS ?=
# Everything that is given to a comparison, e.g. make bench-failover BENCH_ARGS='--rounds 3 --only pgherd,pgpool'
BENCH_ARGS ?=
# Seconds for each fuzz target: a moment in `make test`, ten minutes in `make fuzz`
FUZZ_SMOKE_SECONDS ?= 15
FUZZ_SECONDS ?= 600

# Major versions for `make test-versions`
VERSIONS ?= 14 16 17 18

CARGO ?= cargo
# Where cargo puts its output, for running the binary without cargo: a Ctrl-C is then the demo's alone.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.DELETE_ON_ERROR:
.PHONY: help demo build test test-long test-regress test-versions test-drivers test-patroni test-failover format clippy doc unit fuzz-smoke fuzz bench-build bench bench-micro bench-failover clean

help: ## list the chores
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## three regions behind port 5432, on this machine, until Ctrl-C
	@scripts/need postgres
	$(CARGO) build --release -p proxy
	@exec $(TARGET_DIR)/release/pgherd demo $(DEMO_ARGS)

build: ## the release binary, target/release/pgherd
	$(CARGO) build --release -p proxy

test: format clippy doc unit bench-build fuzz-smoke ## all that a change has to pass

format: ## check the formatting
	$(CARGO) fmt --all --check

clippy: ## lints, warnings denied
	$(CARGO) clippy --workspace --all-targets -- -D warnings

doc: ## documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

unit: ## all tests, those against real PostgreSQL too
	@scripts/need postgres
	@scripts/need python-drivers || echo "the tests with Python's drivers will be skipped" >&2
	@scripts/need haproxy || echo "no real HAProxy will be asked" >&2
	@scripts/need debian-patroni || echo "the test with Patroni will be skipped" >&2
	$(CARGO) build -p proxy
	$(CARGO) test --workspace

test-long: ## the tests that take long: a GiB of COPY, ten minutes of cross-talk, storms, a million simulated failovers
	@scripts/need postgres
	$(CARGO) build -p proxy
	$(CARGO) test -p e2e -- --ignored --skip drivers:: --skip regress:: --skip patroni::
	$(CARGO) test --release -p failover --test simulation -- --ignored --nocapture

test-regress: ## PostgreSQL's own regression suite and libpq_pipeline through pgherd, against a direct run
	@scripts/need postgres
	$(CARGO) build -p proxy
	$(CARGO) test -p e2e --test main regress:: -- --include-ignored --nocapture --test-threads=1

test-versions: ## the suites of protocol, pooling, topology and doctor on PostgreSQL 14, 16, 17 and 18
	@scripts/need postgres versions
	$(CARGO) build -p proxy
	scripts/versions $(VERSIONS)

test-drivers: ## real drivers with their defaults: Python, JavaScript, Java and Rust
	@scripts/need postgres drivers
	$(CARGO) build -p proxy
	$(CARGO) test -p e2e --test main drivers:: -- --include-ignored --nocapture --test-threads=1

test-patroni: ## clusters that Patroni manages: Debian's 3.0 and 4.x, followed by REST and by etcd
	@scripts/need postgres patroni
	$(CARGO) build -p proxy
	$(CARGO) test -p e2e --test main patroni:: -- --include-ignored --nocapture --test-threads=1

test-failover: ## the failure matrix: what each fault costs clients, in network namespaces where a link must fail (root)
	@scripts/need postgres failover
	$(CARGO) build -p proxy
	$(CARGO) test -p e2e --test main -- --include-ignored --nocapture --test-threads=1 matrix:: failover::

fuzz-smoke: ## each fuzz target for a moment
	@scripts/need fuzz
	scripts/fuzz $(FUZZ_SMOKE_SECONDS)

fuzz: ## each fuzz target for ten minutes
	@scripts/need fuzz
	scripts/fuzz $(FUZZ_SECONDS)

bench-build: ## compile the benchmarks, so that they do not rot
	$(CARGO) bench -p benches --no-run

bench: ## direct, PgBouncer, HAProxy and pgherd under the same load (25 minutes; 3 with BENCH_ARGS=--quick)
	@scripts/need postgres load
	$(CARGO) build --release -p proxy
	$(CARGO) run --release -p benches --bin load -- $(BENCH_ARGS)

bench-micro: ## criterion groups of the functions on the way of a query
	$(CARGO) bench -p benches

bench-failover: ## kill and move the primary 20 times each behind pgherd, HAProxy with Patroni, and Pgpool-II (40 minutes)
	@scripts/need postgres patroni haproxy pgpool
	$(CARGO) build --release -p proxy
	$(CARGO) run --release -p benches --bin failover -- $(BENCH_ARGS)

clean: ## remove what was built
	$(CARGO) clean
	rm -rf fuzz/target
