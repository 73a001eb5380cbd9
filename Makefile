# make help prints the targets.
GO ?= go
TOOL = $(GO) tool

WORLD_NODES ?= 1000000

.PHONY: help build test race lint fuzz bench interop lan world

help:
	@sed -n 's/^## //p' Makefile

## build     bin/btd and bin/btctl
build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

## test      all tests that need nothing but Go
test:
	$(GO) test ./...

## race      the same under the race detector (needs gcc)
race:
	CGO_ENABLED=1 $(GO) test -race -timeout 15m ./...

## lint      format, vet, staticcheck
lint:
	@out=$$($(TOOL) gofumpt -l .); if [ -n "$$out" ]; then echo "not formatted (run: go tool gofumpt -w .):"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags interop,lan ./test/...
	$(TOOL) staticcheck ./...
	$(TOOL) staticcheck -tags interop,lan ./test/...

## fuzz      every fuzz target for FUZZTIME (20s) each
fuzz:
	@test/fuzz.sh

## bench     btd beside the other clients of this machine, and the bar (installs nothing; see test/bench/run.sh)
bench:
	@test/bench/run.sh

## interop   the suite with other people's clients (root; installs them with apt)
interop:
	@test/install-clients.sh
	$(GO) test -tags interop -count=1 -parallel 4 -timeout 25m ./test/interop

## lan       swarms on a local network with slow links (root; installs what it needs with apt)
lan:
	@test/install-clients.sh
	$(GO) test -tags lan -count=1 -timeout 25m ./test/lan

## world     searches and routing tables in a simulated DHT of WORLD_NODES (1000000) nodes; 330 real ones on this machine
world:
	WORLD_NODES=$(WORLD_NODES) $(GO) test -run TestPrintAll -count=1 -v -timeout 30m ./dht/world
	TOWN_P99=1s $(GO) test -run TestThreeHundredServers -count=1 -v ./dht
