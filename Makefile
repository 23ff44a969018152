# What there is to do, each a line of go. `make test` is what CI runs.
SHELL := /bin/bash
GO ?= go
FUZZTIME ?= 2s

# The modules that the binary is made of: a new one is a line in review.
DEPS = $(GO) list -deps -f '{{with .Module}}{{.Path}}{{end}}' ./cmd/posthaste | sort -u

.PHONY: build quick deps lint race fuzz interop crash test bench packages release

build:                  ## the binary, in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/posthaste ./cmd/posthaste

quick:                  ## tests that need nothing installed
	$(GO) test ./...

packages:               ## Debian's packages that the complete tests drive
	@bash test/packages.sh

deps:                   ## write deps.txt
	$(DEPS) > deps.txt

lint:                   ## format, vet, staticcheck, modules
	@out=$$($(GO) tool gofumpt -l .); test -z "$$out" || { echo "gofumpt would change:"; echo "$$out"; exit 1; }
	$(GO) vet -tags 'interop crash bench' ./...
	$(GO) tool staticcheck -tags 'interop crash bench' ./...
	$(GO) mod tidy -diff
	@diff <($(DEPS)) deps.txt || { echo 'deps.txt is not what the binary is made of: make deps'; exit 1; }

# Machines that run this are busy, and other people's programs hang by themselves
# now and then: what fails is run once more, and says so. What is broken fails twice.
again = $(1) || { echo '--- failed; once more:'; $(1); }

race:                   ## all quick tests under the race detector
	$(call again,$(GO) test -race -timeout 20m ./...)

fuzz:                   ## every fuzz target for FUZZTIME
	$(GO) run ./tool/fuzz -time $(FUZZTIME)

interop:                ## real mail programs and servers
	$(GO) test -count=1 -tags interop -timeout 15m ./test/interop/

crash:                  ## kill -9, power failure, a full disk; partly needs root
	$(GO) test -count=1 -tags crash -timeout 15m ./test/crash/

test: packages lint race fuzz  ## everything, as CI runs it
	$(call again,$(GO) test -count=1 -tags 'interop crash' -timeout 20m ./test/...)

bench:                  ## us beside Debian's Postfix and Dovecot; needs root
	$(GO) run -tags bench ./test/bench

release:                ## reproducible static binaries, in bin/
	for arch in amd64 arm64; do CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/posthaste-linux-$$arch ./cmd/posthaste; done
