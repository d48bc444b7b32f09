# make help lists what there is to do. Everything is built with Go alone; the lab wants root, since Incus does.

PREFIX   ?= /usr/local
VERSION  ?=
FUZZTIME ?= 10s
KILLS    ?= 50

agents   := amd64 arm64
agent    := runtime/agent/bin/files/agent
static   := CGO_ENABLED=0 GOOS=linux
linter   := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
vulncheck := golang.org/x/vuln/cmd/govulncheck@v1.1.4
licenses := github.com/google/go-licenses@v1.6.0
# The tests go two at once, as their lanes have it; -parallel counts those that wait, too.
on_lab   := PGRUN_E2E=1 go test -count=1 -parallel 100 -v
allowed  := Apache-2.0,BSD-2-Clause,BSD-3-Clause,ISC,MIT,MPL-2.0,Unlicense
golangci  = $(shell command -v golangci-lint || echo "$$(go env GOPATH)/bin/golangci-lint")

.DEFAULT_GOAL := help

.PHONY: help
help: ## List these habits.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/pgrun, static, with the agents that it pushes to machines, and bin/pgrun-report.
	@for arch in $(agents); do \
		$(static) GOARCH=$$arch go build -trimpath -buildvcs=false -ldflags='-s -w -buildid=' \
			-o $(agent)-$$arch ./cmd/pgrun-agent || exit; \
		sha256sum < $(agent)-$$arch | cut -d ' ' -f 1 > $(agent)-$$arch.sha256; \
		gzip -9nf $(agent)-$$arch || exit; \
	done
	$(static) go build -trimpath -tags urfave_cli_no_docs -ldflags='-s -w $(if $(VERSION),-X main.release=$(VERSION))' -o bin/pgrun ./cmd/pgrun
	@# minimal: of what gonum.org/v1/plot can write, SVG alone.
	$(static) go build -trimpath -tags minimal -ldflags='-s -w' -o bin/pgrun-report ./cmd/pgrun-report

.PHONY: test
test: build ## Run all tests, those on the real lab included, which is brought up where it is not.
	@why='Incus wants root'; \
	if [ "$$(id -u)" = 0 ]; then \
		bin/pgrun --syntax-check playbooks/lab.star || exit 1; \
		bin/pgrun playbooks/lab.star; \
		case $$? in 0) why= ;; 3) why='Incus cannot run here, see above' ;; *) exit 1 ;; esac; \
	fi; \
	go test -timeout 30m ./... || exit; \
	if [ -z "$$why" ]; then \
		$(MAKE) --no-print-directory e2e; \
	else \
		echo "make test: the end-to-end tests were left out: $$why" >&2; [ -z "$$CI" ]; \
	fi

.PHONY: e2e
e2e: build ## Run the end-to-end tests alone: a formation in the lab, what is done to it, its failover. As root.
	$(on_lab) -timeout 60m ./e2e

.PHONY: race
race: build ## Run all tests, those in the lab included, with Go's race detector in them and in pgrun. As root.
	CGO_ENABLED=1 go build -race -o bin/pgrun-race ./cmd/pgrun
	CGO_ENABLED=1 go test -race -count=1 -timeout 60m ./...
	CGO_ENABLED=1 PGRUN=$(CURDIR)/bin/pgrun-race $(on_lab) -race -timeout 90m ./e2e

.PHONY: lint
lint: build ## Look for mistakes in the Go code and the playbooks, known vulnerabilities, licences.
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted (make fmt): $$unformatted"; exit 1; }
	go vet ./...
	@[ -x "$(golangci)" ] || { echo "make lint: no golangci-lint: go install $(linter)" >&2; exit 3; }
	$(golangci) run
	@go run $(vulncheck) -h > /dev/null 2>&1 || { echo 'make lint: not looked for known vulnerabilities: no $(vulncheck)'; exit 0; }; \
	said=$$(go run $(vulncheck) ./... 2>&1) || case $$said in \
		*'fetching vulnerabilities'*) echo "make lint: not looked for known vulnerabilities: $$said" ;; \
		*) echo "$$said"; exit 1 ;; \
	esac
	@# Of those that are ignored the first has its licence, Apache-2.0, in its repository, beside the directory of the module;
	@# svgo's is CC-BY-4.0, which the tool does not know: see docs/dependencies.md. -tags as pgrun-report is built with.
	@go run $(licenses) --help > /dev/null 2>&1 || { echo 'make lint: not looked at licences: no $(licenses)'; exit 0; }; \
	said=$$(GOFLAGS=-tags=minimal go run $(licenses) check ./cmd/... --ignore github.com/rootless-containers/proto \
		--ignore github.com/ajstarks/svgo --allowed_licenses=$(allowed) 2>&1) || \
		{ echo "$$said" | grep -v 'contains non-Go code\|\.s$$'; exit 1; }
	@for playbook in $$(grep -l '^play(' playbooks/*.star); do bin/pgrun --syntax-check "$$playbook" || exit; done

.PHONY: fmt
fmt: ## Format the Go code.
	gofmt -w .

.PHONY: docs
docs: build ## Write the reference of the builtins, docs/builtins.md, from their declarations.
	bin/pgrun docs > docs/builtins.md

.PHONY: bench
bench: build ## Measure pgrun beside shell scripts, Ansible and the incus command, in the lab. As root.
	go run ./bench

.PHONY: gobench
gobench: ## Run the Go benchmarks of the hot paths.
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: fuzz
fuzz: ## Let each fuzz target run for FUZZTIME, 10s.
	@grep -r '^func Fuzz' --include='*_test.go' . | sed -E 's|/[^/]*_test.go:func (Fuzz[A-Za-z]*).*| \1|' | while read -r package target; do \
		echo "$$package $$target"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" || exit; \
	done

.PHONY: faults
faults: build ## Have each fault happen in the midst of each kind of call, and print what came of it. As root.
	mkdir -p dist
	PGRUN_FAULTS=$(CURDIR)/dist/faults.md $(on_lab) -timeout 60m -run TestFaults ./e2e
	@cat dist/faults.md

.PHONY: kills
kills: build ## Kill pgrun KILLS times, 50, in the midst of a change, a failover test and a first run each. As root.
	PGRUN_KILLS=$(KILLS) $(on_lab) -timeout 10h -run TestKilledAnywhere ./e2e

.PHONY: lab
lab: build ## Bring up Incus, the lab and in it a PostgreSQL formation, and test its failover. As root.
	@[ "$$(id -u)" = 0 ] || { echo "make lab: Incus wants root: run it with sudo" >&2; exit 3; }
	bin/pgrun playbooks/lab.star
	bin/pgrun playbooks/postgres_ha.star
	bin/pgrun playbooks/test_pg_failover.star
	bin/pgrun playbooks/pg_state.star
	bin/pgrun playbooks/pg_uri.star

.PHONY: lab-destroy
lab-destroy: build ## Take away what make lab made, and nothing else. Packages stay.
	@[ "$$(id -u)" = 0 ] || { echo "make lab-destroy: Incus wants root: run it with sudo" >&2; exit 3; }
	bin/pgrun playbooks/lab_destroy.star

.PHONY: install
install: build ## Install pgrun and pgrun-report to $(PREFIX)/bin: PREFIX=, DESTDIR=.
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin bin/pgrun bin/pgrun-report

.PHONY: clean
clean: ## Remove what make built.
	rm -rf bin dist $(agent)-*
