# Two commands do everything:  make demo   make test
# Then:  make install PREFIX=/opt/suite
#
# MPI chooses the MPI library:  MPI=mpich (default) or MPI=openmpi  (Debian's mpicc.mpich, …),
#                               MPI=site: whatever mpicc and mpiexec are in PATH (module load).

MPI ?= mpich
ifeq ($(MPI),site)
  export MPICC ?= mpicc
  MPIEXEC ?= mpiexec
else
  # Not from the environment: Debian's plain mpicc may be the other one's.
  export MPICC = mpicc.$(MPI)
  MPIEXEC = mpiexec.$(MPI)
endif
ifeq ($(MPI),openmpi)
  # Open MPI refuses root and more ranks than cores unless told that both are meant.
  export OMPI_ALLOW_RUN_AS_ROOT = 1
  export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1
  MPIEXEC_FLAGS ?= --oversubscribe
endif

# One build per MPI: a binary is linked with one of them.
TARGET_DIR = target/$(MPI)
CARGO = CARGO_TARGET_DIR=$(TARGET_DIR) cargo

.PHONY: build demo dist install check test test-tools test-as-user test-programs lint bench setup setup-test setup-bench

PREFIX ?= /usr/local
TOOLS = dcp dsync dcmp dwalk drm

build: setup
	$(CARGO) build --release --locked

# The demonstration's S3 server is one of the tests'.
demo: setup
	$(CARGO) build --release --locked -p dcp -p dsync -p dcmp -p dwalk -p drm -p suite-tests \
	    $(TOOLS:%=--bin %) --bin object_server
	scripts/demo.sh $(TARGET_DIR)/release $(MPIEXEC) $(MPIEXEC_FLAGS)

# What is installed: optimised across crates, which takes longer to build.
dist: setup
	$(CARGO) build --profile dist --locked

install: dist
	scripts/install.sh $(TARGET_DIR)/dist "$(DESTDIR)$(PREFIX)" $(TOOLS)

# A test that fails does not keep the others from running. Tests are in libraries and in two binaries; the programs
# and the documentation have none, and asking for them builds all programs a second time.
CARGO_TEST = $(CARGO) test --profile checked --locked --workspace --no-fail-fast
ALL_TESTS = --lib --test components --test tools
export SUITE_MPIEXEC = $(MPIEXEC) $(MPIEXEC_FLAGS)

test: setup-test test-programs
	$(CARGO_TEST) $(ALL_TESTS)

# All that is checked before a change is submitted.
check: lint test

# The tests under mpiexec alone.
test-tools: test-programs
	$(CARGO_TEST) --test tools

# All tests as an ordinary user, where root runs this, in a directory whose path is no plain word.
AS_USER ?=
test-as-user: test-programs
	$(CARGO_TEST) $(ALL_TESTS) --no-run --message-format=json | scripts/test_as_user.sh $(TARGET_DIR) $(AS_USER)

# What the tests of the tools start.
test-programs: setup-test
	$(CARGO) build --profile checked --locked --workspace --bins

lint: setup
	cargo fmt --all --check
	$(CARGO) clippy --profile checked --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --profile checked --locked --no-default-features $(TOOLS:%=-p %) $(TOOLS:%=--features %/mpi) -- -D warnings

bench: setup-bench
	$(CARGO) build --profile dist --locked --workspace --bins
	target/venv/bin/python scripts/bench $(TARGET_DIR)/dist $(MPIEXEC) $(MPIEXEC_FLAGS)

setup:
	@scripts/setup.sh build $(MPI) $(MPICC) $(MPIEXEC)

setup-test:
	@scripts/setup.sh test $(MPI) $(MPICC) $(MPIEXEC)

setup-bench:
	@scripts/setup.sh bench $(MPI) $(MPICC) $(MPIEXEC)
