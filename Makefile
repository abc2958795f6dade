# Tributary: Prometheus remote storage on Amazon Timestream. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := build
.DELETE_ON_ERROR:

# Every module of go.work. cgo is needed by timestream-local (DuckDB) and by what links it.
MODULES  := internal proto timestream timestream/local gateway services/ingest services/query allinone e2e
PACKAGES := $(addprefix ./,$(addsuffix /...,$(MODULES)))
# Modules whose tests are cheap enough to run under the race detector every time.
RACE     := internal timestream gateway services/ingest services/query
NORACE   := $(filter-out $(RACE),$(MODULES))
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS  := -X main.version=$(VERSION)
BENCH    ?= .
BENCHTIME ?= 1s

## run: build and start everything in one process, data under ./data (ARGS="--help" lists the flags)
.PHONY: run
run: bin/tributary
	exec bin/tributary all $(ARGS)

## build: all binaries, into bin/
.PHONY: build
build: bin/gateway bin/ingest bin/query bin/timestream-local bin/tributary

# On Linux what has DuckDB in it needs nothing but the C library: the linker takes the archives of C++, which it does where it finds
# no shared library before them.
ifeq ($(shell uname -s),Linux)
CXXLIB      := bin/lib/libstdc++.a
CXX_LDFLAGS := -extldflags "-static-libgcc -L$(CURDIR)/bin/lib"
define needs-libc-only
	@needs=$$(readelf -d $@ | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p') && [ -n "$$needs" ] && \
		! grep -vE '^(lib(c|m|dl|pthread|resolv|rt)\.so|ld-linux)' <<<"$$needs" || { echo "$@ needs more than the C library"; exit 1; }
endef
$(CXXLIB):
	@mkdir -p bin/lib
	ln -sf "$$($(CXX) -print-file-name=libstdc++.a)" $@
endif

.PHONY: FORCE
FORCE:
bin/gateway: FORCE
	cd gateway && CGO_ENABLED=0 go build -ldflags '$(LDFLAGS)' -o ../bin/ ./cmd/gateway
bin/ingest: FORCE
	cd services/ingest && CGO_ENABLED=0 go build -ldflags '$(LDFLAGS)' -o ../../bin/ ./cmd/ingest
bin/query: FORCE
	cd services/query && CGO_ENABLED=0 go build -ldflags '$(LDFLAGS)' -o ../../bin/ ./cmd/query
bin/timestream-local: FORCE $(CXXLIB)
	cd timestream/local && go build -ldflags '$(LDFLAGS) $(CXX_LDFLAGS)' -o ../../bin/ ./cmd/timestream-local
	$(needs-libc-only)
bin/tributary: FORCE $(CXXLIB)
	cd allinone && go build -ldflags '$(LDFLAGS) $(CXX_LDFLAGS)' -o ../bin/ ./cmd/tributary
	$(needs-libc-only)

## test: all tests of all modules, end-to-end tests included, with the race detector where it is affordable
.PHONY: test
test: build bin/prometheus bin/promtool bin/compliance js-clients
	go test -race $(addprefix ./,$(addsuffix /...,$(RACE)))
	go test -timeout 20m $(addprefix ./,$(addsuffix /...,$(NORACE)))

## race: all tests under the race detector
.PHONY: race
race: build bin/prometheus bin/promtool bin/compliance js-clients
	go test -race -timeout 40m $(PACKAGES)

## e2e: only the end-to-end tests, with a real Prometheus
.PHONY: e2e
e2e: build bin/prometheus bin/promtool bin/compliance
	go test -timeout 20m ./e2e/...

## js-clients: the AWS SDK for JavaScript, which tests of timestream-local drive (needs node 20 and npm)
JS := timestream/local/clients/testdata/js
.PHONY: js-clients
js-clients: $(if $(shell command -v npm),$(JS)/node_modules/.package-lock.json)
$(JS)/node_modules/.package-lock.json: $(JS)/package-lock.json $(JS)/.npmrc
	cd $(JS) && npm ci --prefer-offline --loglevel=error
	@touch $@

## bench: the Go benchmarks (BENCH=regexp, BENCHTIME=1s)
.PHONY: bench
bench:
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem $(PACKAGES) | grep -v '\[no test files\]\|^ok\|^PASS'

## bench-e2e: every mark of speed, memory and cost, by the real processes and beside a real Prometheus (ARGS="--check --soak=10m --markdown")
.PHONY: bench-e2e
bench-e2e: build bin/prometheus bin/benche2e
	bin/benche2e --bin bin $(ARGS)
bin/benche2e: FORCE
	cd e2e && go build -o ../bin/ ./cmd/benche2e
bin/loadgen: FORCE
	cd e2e && CGO_ENABLED=0 go build -o ../bin/ ./cmd/loadgen

## compose-test: the compose file on a real Docker engine: scaling, balancing, a killed replica (needs docker, root for a local dockerd)
.PHONY: compose-test
compose-test: bin/docker-compose bin/prometheus bin/loadgen
	scripts/compose-test.sh

## lint: golangci-lint and buf lint
.PHONY: lint
lint: bin/golangci-lint bin/buf
	bin/golangci-lint run $(PACKAGES)
	bin/buf lint

## gen: generate code from proto/
.PHONY: gen
gen: buf-tools
	bin/buf generate

## fmt: format all Go code
.PHONY: fmt
fmt:
	gofmt -w $(MODULES)

## tidy: tidy every module
.PHONY: tidy
tidy:
	for m in $(MODULES); do (cd $$m && GOWORK=off go mod tidy) || exit 1; done

## verify: generated code, formatting, module files and the workspace are what gen, fmt and tidy would make
.PHONY: verify
verify: buf-tools
	scripts/verify.sh $(MODULES)

## breaking: wire-breaking changes of proto/ against AGAINST (a git reference)
AGAINST ?= main
.PHONY: breaking
breaking: bin/buf
	bin/buf breaking --against '.git#branch=$(AGAINST)'

## clean: remove what was built (not ./data)
.PHONY: clean
clean:
	rm -rf bin dist $(JS)/node_modules

## help: this list
.PHONY: help
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST) | sort | awk -F': ' '{printf "  %-14s %s\n", $$1, substr($$0, length($$1) + 3)}'

# Tools, each pinned by a module of its own under tools/ and built again when that changes.
PROTOC_GENS := bin/protoc-gen-go bin/protoc-gen-go-grpc bin/protoc-gen-grpc-gateway bin/protoc-gen-openapiv2
.PHONY: buf-tools
buf-tools: bin/buf $(PROTOC_GENS)
define tool
	@mkdir -p bin
	cd tools/$(1) && GOWORK=off go build $(3) -o ../../$@ $(2)
	@touch $@
endef
bin/buf: tools/buf/go.sum
	$(call tool,buf,github.com/bufbuild/buf/cmd/buf)
bin/protoc-gen-go: tools/buf/go.sum
	$(call tool,buf,google.golang.org/protobuf/cmd/protoc-gen-go)
bin/protoc-gen-go-grpc: tools/buf/go.sum
	$(call tool,buf,google.golang.org/grpc/cmd/protoc-gen-go-grpc)
bin/protoc-gen-grpc-gateway: tools/buf/go.sum
	$(call tool,buf,github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway)
bin/protoc-gen-openapiv2: tools/buf/go.sum
	$(call tool,buf,github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv2)
bin/golangci-lint: tools/golangci-lint/go.sum
	$(call tool,golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint)
# remove_all_sd leaves out every service discovery but files and static targets: the tests need no other.
bin/prometheus: tools/prometheus/go.sum
	$(call tool,prometheus,github.com/prometheus/prometheus/cmd/prometheus,-tags remove_all_sd)
bin/promtool: tools/prometheus/go.sum
	$(call tool,prometheus,github.com/prometheus/prometheus/cmd/promtool,-tags remove_all_sd)
# The receiver compliance suite of prometheus/compliance is a package of tests, so it is compiled as one.
bin/compliance: tools/compliance/go.sum
	@mkdir -p bin
	cd tools/compliance && GOWORK=off go test -c -o ../../$@ github.com/prometheus/complicance/remotewrite2
	@touch $@
bin/docker-compose: tools/compose/go.sum
	$(call tool,compose,github.com/docker/compose/v2/cmd)
