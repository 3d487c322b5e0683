# The two commands of the README are `make demo` and `make test`; both fetch uv into .tools if it is missing.
# requirements.lock (made by uv, for every platform, with hashes) names no index, so mirrors work as they are.
UV_VERSION := 0.13.9
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
BIN := .venv/bin
MICROPHONE := -m microphone tests/service/test_page.py

# Two OpenMP threads that spin beside another busy process collapse; waiting passively costs nothing.
export GOMP_SPINCOUNT ?= 0
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test quick lint format bench lock oracles peers clean

demo: .venv/ready  ## real voices -> trained encoders -> error rates with intervals -> a report page
	$(BIN)/voxangle demo

test: .venv/ready .oracles/ready lint  ## linter, type checker and the whole suite
	$(BIN)/pytest -n 2 --dist loadfile -m "not microphone"
	# Alone, for a browser's made-up microphone stutters on a busy machine; hence, too, a second try of what failed.
	$(BIN)/pytest $(MICROPHONE) || $(BIN)/pytest $(MICROPHONE) --last-failed

quick: .venv/ready
	$(BIN)/pytest -x -q -m "not debian and not corpus and not microphone"

lint: .venv/ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: .venv/ready
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: .venv/ready  ## ratios of speed, all in one run
	$(BIN)/python -m benchmarks

lock: $(UV)  ## renew requirements.lock from pyproject.toml
	$(UV) pip compile --quiet --universal --generate-hashes --no-annotate --all-extras --group dev \
	  --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

.venv/ready: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python ">=3.11" .venv
	$(UV) pip sync --quiet --python .venv --require-hashes requirements.lock
	$(UV) pip install --quiet --python .venv --no-deps --editable .
	touch $@

.tools/bin/uv:
	python3 -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# Other toolkits' code, unpacked apart from the environment.
oracles: .oracles/ready  ## what `voxangle import` is tested against
peers: .peers/ready  ## what benchmarks compare with, and brings its weights along

.%/ready: requirements-%.txt | .venv/ready
	rm -rf .$*
	$(UV) pip install --quiet --python .venv --no-deps --require-hashes --target .$* --requirement $<
	touch $@

clean:
	rm -rf .venv .tools .oracles .peers runs dist .pytest_cache .mypy_cache .ruff_cache
