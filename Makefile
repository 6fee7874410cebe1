# Lanekeeper. 'make' shows what there is; CI runs 'make test' and nothing else.
.DEFAULT_GOAL := help
GO ?= go

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: redis lint ## what CI runs: format, vet, staticcheck, all tests with the race detector (10 min)
	@# Two packages beside each other, but for two that hold pools and processes to a time. The command's tests mostly
	@# wait, so many of them run at once. Tables and simulations of many cases take a share of them with the race detector, and
	@# run whole without. Vet was run by lint. Limits are for a machine three times slower.
	@failed=0; set -x; \
	$(GO) test -race -vet=off -p 2 -parallel 8 -timeout 20m $$($(GO) list ./... | grep -v -e /cmd/lanekeeper$$ -e /worker$$) || failed=1; \
	$(GO) test -vet=off -p 2 -timeout 20m -run 'Pairs|Simulation|Random|AreAlike|NoLostWakeUp' ./dispatcher ./dispatcher/session ./worker || failed=1; \
	$(GO) test -race -vet=off -timeout 20m ./worker || failed=1; \
	$(GO) test -race -vet=off -parallel 6 -timeout 20m ./cmd/lanekeeper || failed=1; \
	exit $$failed

lint: ## gofmt, go vet, staticcheck
	@bad=$$(gofmt -l .); if [ -n "$$bad" ]; then echo "run gofmt -w on:"; echo "$$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	cd bench && $(GO) vet .

quick: redis ## the same tests, shorter and without the race detector (2 min)
	$(GO) test -short ./...

fuzz: redis ## fuzz subjects, stored jobs, command lines and what is shown, each for half a minute
	$(GO) test ./subject -run '^$$' -fuzz FuzzParse -fuzztime 30s
	$(GO) test ./subject -run '^$$' -fuzz FuzzIDText -fuzztime 30s
	$(GO) test ./internal/record -run '^$$' -fuzz FuzzStoredJob -fuzztime 30s
	$(GO) test ./internal/record -run '^$$' -fuzz FuzzGarbage -fuzztime 30s
	$(GO) test ./dispatcher/inspect -run '^$$' -fuzz FuzzCursors -fuzztime 30s
	$(GO) test ./cmd/lanekeeper -run '^$$' -fuzz FuzzInput -fuzztime 30s
	$(GO) test ./cmd/lanekeeper -run '^$$' -fuzz FuzzHostileText -fuzztime 30s -fuzzminimizetime 1x

chaos: redis ## faults at real processes, servers and clusters, for CHAOS_TIME (30m), and what was measured
	@figures=$$(mktemp); export CHAOS_TIME=$${CHAOS_TIME:-30m} CHAOS_FIGURES=$$figures; failed=0; \
	$(GO) test ./dispatcher -count=1 -run 'TwoDrainers|NoLostWakeUp|RandomSchedules|AreAlike' -rapid.checks=1000 -timeout 3h || failed=1; \
	$(GO) test ./worker -count=1 -run 'Simulation|Herd' -timeout 3h || failed=1; \
	$(GO) test ./cmd/lanekeeper -count=1 -run Chaos -timeout 3h || failed=1; \
	cat $$figures; rm -f $$figures; exit $$failed

known-bad: redis ## put defects in, one at a time, and see each caught (30 min)
	$(GO) run ./internal/knownbad

mutants: redis ## put in MUTANTS (60, or all) defects that nobody chose (SEED=N: again), and see how many are caught (13 min)
	$(GO) run ./internal/mutants -n $${MUTANTS:-60} $${SEED:+-seed $$SEED}

stories: redis ## rewrite testdata/*.txt from what the code does now; read the diff
	$(GO) test . -rewrite

bench: redis ## measure beside asynq, River and raw Redis; brings docs/performance.md up to date (15 min)
	cd bench && $(GO) run .

bench-quick: redis ## drain, contention, idle latency and memory with fewer jobs (2 min)
	cd bench && $(GO) run . -quick -out results-quick.json

bench-against: redis ## measure this tree beside the build of REF, in turn, ROUNDS times (5): ratios (8 min)
	cd bench && $(GO) run . -against $${REF:?say which commit: make bench-against REF=HEAD~1} -rounds $${ROUNDS:-5} $${ONLY:+-only "$$ONLY"}

dist: ## what a release consists of, into dist/: static binaries for linux and darwin, man pages, completions, a systemd unit (3 min)
	$(GO) test -count=1 ./internal/dist -builds
	$(GO) run ./internal/dist
	cd dist && sha256sum -c SHA256SUMS

demo: ## replay a real trace on an embedded server
	$(GO) run ./cmd/lanekeeper demo

redis: ## install redis-server when it is absent and the package manager may; REDIS_SERVER=/path names another for all tests
	@[ -n "$$REDIS_SERVER" ] || command -v redis-server >/dev/null || { \
	  command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && \
	  apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends redis-server >/dev/null; } || \
	  { echo "redis-server is needed: install it with your package manager (Debian: apt-get install redis-server)"; exit 1; }
	@server=$${REDIS_SERVER:-redis-server}; said=$$($$server --version) && echo "tests run on $$server: $$said"

.PHONY: help test lint quick fuzz stories bench bench-quick bench-against chaos known-bad mutants dist demo redis
