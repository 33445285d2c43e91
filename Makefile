# Two commands do everything on a fresh Debian machine with Rust:
#
#   make demo   a server with the extension, an agent session to watch, a psql line
#   make test   everything that CI checks; the last line is the counts
#
# Majors: VERIFY_PG=15,17 make test   (default 15,16,17,18)

SHELL := /bin/bash
VERIFY_PG ?= 15,16,17,18
export VERIFY_PG

.PHONY: help deps images lint pgtest verify test demo test-long test-assert test-assert-long sensitivity bench clean

help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1	/' | expand -t 20

deps: ## Install what is missing
	@containers/deps

images: ## One server image for each major, with the extension
	@for major in $$(tr , ' ' <<<"$$VERIFY_PG"); do containers/image "$$major" >/dev/null; done

lint: ## Format and lints, for each major
	@.ci/steps lint

pgtest: ## The tests that run inside a server
	@.ci/steps pgtest

verify: ## The harness on all majors
	@.ci/steps verify

test: ## Everything that CI checks
	@containers/deps --packages
	@.ci/steps servers lint pgtest verify

test-long: export VERIFY_ROUNDS ?= 20
test-long: export VERIFY_CALLS ?= 1000000
test-long: export VERIFY_SECONDS ?= 60
test-long: deps ## Crashes, memory and load as long as they deserve: `make test` has them short
	@cargo test --test all -- crash:: load:: memory:: standby::

# Another major: make test-assert VERIFY_PG=15
test-assert: VERIFY_PG = 18
test-assert: export VERIFY_ASSERT = 1
test-assert: deps ## The harness on a server whose own assertions are on, compiled for it
	@.ci/steps verify

# Every night on the public forge.
test-assert-long: VERIFY_PG = 18
test-assert-long: export VERIFY_ASSERT = 1
test-assert-long: test-long ## The same with a server whose own assertions are on

sensitivity: ## Which property catches which seeded fault
	@cargo run --release -p verification --bin verify -- sensitivity

bench: BENCH_PG ?= 15
bench: BENCH ?= --quick
bench: deps ## Measured against SQL and the floor (BENCH=--full BENCH_PG=15,16,17,18)
	@cargo run --release -p benches --bin report -- $(BENCH) --pg $(BENCH_PG)

demo: deps ## A server with the extension, and a session to watch
	@cargo run -p verification --bin verify -- demo

clean: ## Remove what was built here (not the images: containers/prune)
	@rm -rf target
