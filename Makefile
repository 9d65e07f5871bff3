# `make run` and `make test` are all that a newcomer needs; both install or name what is missing.
# Honours CARGO_TARGET_DIR.

SHELL := /bin/sh
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
DATA ?= $(HOME)/.local/share/lamassu
PKILINT := $(TARGET)/pkilint
SCHEMATHESIS := $(TARGET)/schemathesis
OPENID := $(TARGET)/openid
MOTO := $(TARGET)/moto
GO := $(TARGET)/go
# Both change with a commit only, so that nothing is built again without one.
BUILD_ENV := LAMASSU_BUILD="$$(git rev-parse --short HEAD 2>/dev/null)" \
	LAMASSU_BUILD_TIME="$$(git log -1 --format=%cI 2>/dev/null)"

.PHONY: help run build test lint deny bench bench-large fuzz tools-build tools-test

help:
	@echo "make run     build and start everything; prints the addresses and how to log in"
	@echo "make test    all tests, with real clients and servers; those of services also over HTTP"
	@echo "make build   the program, as $(TARGET)/release/lamassu"
	@echo "make lint    formatting and lints"
	@echo "make deny    licences, sources and forbidden crates of the dependencies"
	@echo "make bench   the benchmark table (ROW=name for one row, DATABASE=sqlite or postgres)"
	@echo "make bench-large   lists with ten million certificates and their devices (ROWS=1000000 for fewer)"
	@echo "make fuzz    every fuzz target for a while (SECONDS=60 each)"

run: build
	@$(TARGET)/release/lamassu serve --data-dir "$(DATA)" $(ARGS)

build: tools-build
	@$(BUILD_ENV) $(CARGO) build --release --locked -p lamassu

# Packages are chosen so that their dependencies have the features that they have in the whole workspace:
# another choice compiles everything anew.
test: tools-build tools-test
	$(CARGO) build --locked -p lamassu
	LAMASSU_TEST_PKILINT="$(abspath $(PKILINT))/bin" \
		LAMASSU_TEST_SCHEMATHESIS="$(abspath $(SCHEMATHESIS))/bin" \
		LAMASSU_TEST_OPENID="$(abspath $(OPENID))" LAMASSU_TEST_MOTO="$(abspath $(MOTO))/bin" \
		LAMASSU_TEST_GO="$(abspath $(GO))/bin" \
		$(CARGO) test --workspace --locked --no-fail-fast
	LAMASSU_TEST_MOTO="$(abspath $(MOTO))/bin" LAMASSU_TEST_CLIENT=http $(CARGO) test --locked --no-fail-fast -p lamassu-auth -p lamassu-kms \
		-p lamassu-ca -p lamassu-devices -p lamassu-dms -p lamassu-va --test it
	LAMASSU_TEST_MOTO="$(abspath $(MOTO))/bin" LAMASSU_TEST_DATABASE=postgres $(CARGO) test --locked --no-fail-fast -p lamassu-auth -p lamassu-kms \
		-p lamassu-ca -p lamassu-devices -p lamassu-dms -p lamassu-va --test it
	LAMASSU_TEST_LAYOUT=apart $(CARGO) test --workspace --locked --no-fail-fast --test e2e -- \
		est_clients est_command est_wire the_example_script refusals routes validation

lint: tools-build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

deny: tools-build
	@scripts/tools deny
	$(CARGO) deny --locked check licenses bans sources

bench: build
	$(CARGO) run --release --locked -p lamassu-bench -- --program $(TARGET)/release/lamassu $(if $(ROW),--row $(ROW)) \
		$(if $(DATABASE),--database $(DATABASE))

# Rows are written past the program, with signatures that nobody looks at: 10,000,000 take 20 minutes on SQLite,
# as long again until its indexes are full, and 40 GB below /var/tmp.
ROWS ?= 10000000
bench-large: build
	$(CARGO) run --release --locked -p lamassu-bench -- --program $(TARGET)/release/lamassu --row large \
		--rows-of-large $(ROWS) $(if $(DATABASE),--database $(DATABASE))

SECONDS ?= 60
fuzz: tools-build
	@scripts/fuzz $(SECONDS)

# A Rust toolchain (its version is in rust-toolchain.toml) and a C compiler.
tools-build:
	@scripts/tools build

# openssl, curl, strongSwan's pki, pkilint, schemathesis, an OpenID provider, moto, Go, SoftHSM2, p11-kit.
tools-test:
	@scripts/tools test "$(PKILINT)" "$(SCHEMATHESIS)" "$(OPENID)" "$(MOTO)" "$(GO)"
