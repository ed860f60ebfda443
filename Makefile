# The whole life of the project from one place. Everything that is needed beyond Rust, a C compiler
# and Python 3 is fetched by cargo.

CARGO ?= cargo
N ?= 20000
STEPS ?= 200000
SECONDS_OF_FIRE ?= 600
FILES ?= 1000000
RUNS ?= 5

.PHONY: all build test lint doc bench crash soak golden clean

all: build

build:
	$(CARGO) build --release --locked

# Everything that is proved on every change: unit, model, crash, fault, mount and command-line tests.
test:
	$(CARGO) test --workspace --locked --quiet

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

# Builds the tree of a million files once, then measures in one run: the floor, ours, the peers.
bench:
	$(CARGO) run --release --locked -p treewarden-bench -- all --files $(FILES) --runs $(RUNS)

# Any number of kills: make crash N=20000
crash:
	N=$(N) $(CARGO) test --locked -p treewarden-tests --test main -- crash --nocapture

# The model test and the fires for as long as one likes, and the big directory:
# make soak STEPS=200000 SECONDS_OF_FIRE=3600
soak:
	TREEWARDEN_STEPS=$(STEPS) TREEWARDEN_LARGE=1 TREEWARDEN_FIRE_SECONDS=$(SECONDS_OF_FIRE) $(CARGO) test --locked -p treewarden-tests --test main -- model bad_input fire --nocapture

# Writes the golden state file of the present format version; commit it only with a new version.
golden:
	TREEWARDEN_WRITE_GOLDEN=1 $(CARGO) test --locked -p treewarden-tests --test main -- the_golden_file_is_written

clean:
	$(CARGO) clean
