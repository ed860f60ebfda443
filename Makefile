# The whole life of the project from one place. Everything that is needed beyond Rust, a C and C++ compiler and
# Python 3 (with its `venv`) is fetched by cargo, and by pip into an environment of the project's own.

CARGO ?= cargo
N ?= 20000
STEPS ?= 200000
SECONDS_OF_FIRE ?= 600
FILES ?= 1000000
RUNS ?= 5

PREFIX ?= /usr/local
DESTDIR ?=
PYTHON ?= python3

VENV := target/venv
PY := $(VENV)/bin/python

.PHONY: all build test test-rust test-c test-c-asan test-python lint doc bench crash soak soak-mirror golden header wheel install clean

all: build

build:
	$(CARGO) build --release --locked

# Everything that is proved on every change.
test: test-rust test-c test-python

# Unit, model, crash, fault, mount and command-line tests.
test-rust:
	$(CARGO) test --workspace --exclude treewarden-python --locked --quiet

# C and C++ programs against the library: plain, under sanitizers, under valgrind, installed, and misused.
test-c: $(VENV)/ready
	$(CARGO) build --locked --quiet -p treewarden-ffi
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) tests/c/run.py

# The same C programs against a library that is itself built with AddressSanitizer.
test-c-asan: $(VENV)/ready
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) tests/c/run.py --rust-asan

# The Python package through its public face, its types and its documents.
test-python: $(VENV)/ready
	cd python && VIRTUAL_ENV="$(CURDIR)/$(VENV)" ../$(VENV)/bin/maturin develop --locked --quiet
	$(PY) -m pytest -q -c python/pyproject.toml tests/python

# The tools of the tests, in an environment of their own.
$(VENV)/ready: tests/python/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r tests/python/requirements.txt
	touch $@

# The Python package as a file that pip installs anywhere; proved in an empty environment.
wheel: $(VENV)/ready
	cd python && ../$(VENV)/bin/maturin build --release --locked --out ../target/wheels
	$(PYTHON) tests/python/wheel.py target/wheels

# Writes include/treewarden.h anew from the sources of the C interface.
header:
	TREEWARDEN_WRITE_HEADER=1 $(CARGO) test --locked --quiet -p treewarden-ffi

# The library for C and C++ programs: make install PREFIX=/usr/local
install:
	$(CARGO) build --release --locked -p treewarden-ffi
	ffi/packaging/install "$(abspath $(PREFIX))" target/release "$(DESTDIR)"

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

# Builds the tree of a million files once, then measures in one run: the floor, ours, the peers, and ours from C and
# Python. The package of the environment is then one without debug checks, until the next `make test-python`.
bench: $(VENV)/ready
	$(CARGO) build --release --locked -p treewarden-ffi
	cd python && VIRTUAL_ENV="$(CURDIR)/$(VENV)" ../$(VENV)/bin/maturin develop --release --locked --quiet
	$(CARGO) run --release --locked -p treewarden-bench -- all --files $(FILES) --runs $(RUNS)

# Any number of kills: make crash N=20000
crash:
	N=$(N) $(CARGO) test --locked -p treewarden-tests --test main -- crash --nocapture

# The model test and the fires for as long as one likes, and the big directory:
# make soak STEPS=200000 SECONDS_OF_FIRE=3600
soak: soak-mirror
	TREEWARDEN_STEPS=$(STEPS) TREEWARDEN_LARGE=1 TREEWARDEN_FIRE_SECONDS=$(SECONDS_OF_FIRE) $(CARGO) test --locked -p treewarden-tests --test main -- model bad_input fire --nocapture

# The program and a bucket under faults, kills and unplugged roots: make soak-mirror SECONDS_OF_FIRE=3600
soak-mirror:
	TREEWARDEN_FIRE_SECONDS=$(SECONDS_OF_FIRE) $(CARGO) test --locked -p treewarden-cli --test mirror_fire -- --nocapture

# Writes the golden state file of the present format version; commit it only with a new version.
golden:
	TREEWARDEN_WRITE_GOLDEN=1 $(CARGO) test --locked -p treewarden-tests --test main -- the_golden_file_is_written

clean:
	$(CARGO) clean
