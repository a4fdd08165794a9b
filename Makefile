# TriageMQ. `make` lists the targets. Needs Go, git and, for the race detector, a C compiler; nothing is installed.

.DEFAULT_GOAL := help
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c

GO ?= go
TOOL := $(GO) tool -modfile=tools/go.mod
FUZZ_SECONDS ?= 60

# What runs in one process and may race; folders that do not exist yet are left out.
RACE_DIRS := $(wildcard fsm broker cluster transport client)
RACE := $(RACE_DIRS:%=./%/...)

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## building and running

.PHONY: build
build: ## build the static binaries into bin/
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

.PHONY: run
run: build ## run a cluster of three nodes on loopback until Ctrl-C
	bin/triagemq dev --nodes 3

.PHONY: demo
demo: build ## play the sign-up story against a cluster of its own, with the leader killed in the middle
	$(GO) run ./testing/demo

## testing

.PHONY: test
test: ## vet, and all tests (under ten minutes on two cores)
	$(GO) vet ./...
	$(GO) test -timeout 9m $$($(GO) list ./... | grep -v /testing/system)
	$(GO) test -timeout 9m ./testing/system

.PHONY: test-ha
test-ha: ## the long tests of high availability on loopback: failover, membership, upgrades, damage, random faults (about an hour)
	$(GO) test -count=1 -timeout 150m -tags ha -run HA -v ./testing/system

.PHONY: test-root
test-root: ## system tests that need root and iproute2: partitions in network namespaces
	$(GO) test -count=1 -timeout 30m -tags root -run 'Partition|Root|Network' -v ./testing/system

.PHONY: conformance
conformance: ## clients of others against a real cluster, leaders lost meanwhile with CHAOS=1; SUITE=NAME,… chooses; needs the network and, for apt-get, root
	$(GO) test -count=1 -timeout 120m -tags conformance -run TestConformance -v ./testing/conformance

.PHONY: oracle
oracle: ## compare the answers to some 1,200 operations with those of a RabbitMQ, unpacked from Debian's package; ONLY=REGEX chooses cases; needs what conformance needs
	SUITE=oracle $(GO) test -count=1 -timeout 15m -tags conformance -run TestConformance -v ./testing/conformance

.PHONY: nextlevel
nextlevel: ## state machine, broker and HTTP in builds with one more feature level than the release
	$(GO) vet -tags nextlevel ./...
	$(GO) test -tags nextlevel -timeout 9m ./fsm ./broker ./transport/http

.PHONY: check
check: lint generated race nextlevel smoke fuzz-short chaos-short ## what CI runs beyond make test (under 45 minutes)

.PHONY: lint
lint: ## gofmt, vet, staticcheck and the rules of testing/lint
	@unformatted="$$(gofmt -l .)"; \
	if [[ -n "$$unformatted" ]]; then printf 'not gofmt-ed:\n%s\n' "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags conformance ./testing/conformance
	$(GO) vet -tags ha,root ./testing/...
	$(TOOL) staticcheck ./...
	$(GO) test -count=1 ./testing/lint

.PHONY: generated
generated: ## fail if generated Go files are not what their generators write (they are then, for you to commit)
	.ci/generated

.PHONY: race
race: ## the in-process packages under the race detector
	$(GO) test -race -timeout 20m $(RACE)

.PHONY: smoke
smoke: ## the smoke test of three real processes
	$(GO) test -count=1 -timeout 9m -run Smoke -v ./testing/system

.PHONY: fuzz
fuzz: ## fuzz each decoder for FUZZ_SECONDS (60)
	.ci/fuzz $(FUZZ_SECONDS)

.PHONY: fuzz-short
fuzz-short: ## fuzz each decoder for ten seconds
	.ci/fuzz 10

.PHONY: chaos-short
chaos-short: ## a minute of random kills, pauses and restarts of real nodes under load; the seed is printed and replays
	TRIAGEMQ_RANDOM_SECONDS=60 $(GO) test -count=1 -timeout 15m -run RandomFaults -v ./testing/system

.PHONY: golden
golden: ## write the golden files of tests that have an update flag anew (read the difference before you commit it; make test compares)
	@packages="$$(git grep --untracked -l 'flag.Bool("update"' -- '*_test.go' | xargs -r -n1 dirname | sort -u | sed 's|^|./|')"; \
	for p in $$packages; do $(GO) test -count=1 "$$p" -update; done

.PHONY: generate
generate: ## write generated Go files anew
	$(GO) generate ./...

.PHONY: bench
bench: build ## what docs/performance.md lists: microbenchmarks, then a cluster of three nodes on this machine
	$(GO) test -run '^$$' -bench . -benchmem $(RACE)
	bin/triagemq-bench lone
	bin/triagemq-bench throughput
	bin/triagemq-bench throughput --client lean
	bin/triagemq-bench rate
	bin/triagemq-bench rate --client lean
	bin/triagemq-bench backlog --client lean
