# Two commands do everything on a fresh Debian machine with Rust:
#
#   make demo   a server with the extension, an agent session to watch, a psql line
#   make test   everything that CI checks; the last line is the counts
#
# Majors: VERIFY_PG=15,17 make test   (default 15,16,17,18)

SHELL := /bin/bash
VERIFY_PG ?= 15,16,17,18
export VERIFY_PG

.PHONY: help deps images lint pgtest verify test demo sensitivity clean

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

test: deps ## Everything that CI checks
	@.ci/steps lint pgtest verify

sensitivity: ## Which property catches which seeded fault
	@cargo run --release -p verification --bin verify -- sensitivity

demo: deps ## A server with the extension, and a session to watch
	@cargo run -p verification --bin verify -- demo

clean: ## Remove what was built here (not the images: containers/prune)
	@rm -rf target
