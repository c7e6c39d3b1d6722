PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
TUNER := $(BIN)/tuner

.PHONY: demo test check bench ops set-up clean

demo: $(READY)  ## set-up, then a search on pictures that the project draws itself
	@$(TUNER) toy data/toy
	@$(TUNER) run configs/jobs/demo.yaml
	@$(TUNER) export demo --to runs/demo-best

test: check  ## set-up, checks and tests
	$(BIN)/pytest

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## tables of speed and memory; nothing else should run meanwhile
	@for script in tests/benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

ops: $(READY)  ## mmcv's compiled operators, about 11 minutes on 2 cores; Semantic FPN needs none
	MMCV_WITH_OPS=1 $(PIP) --no-build-isolation --no-deps --force-reinstall --no-cache-dir \
	  --no-binary mmcv-full -c constraints.txt mmcv-full

set-up: $(READY)

$(READY): pyproject.toml constraints.txt
	@echo "setting up .venv: some 6 GB and two minutes, most of it PyTorch"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) 'pip>=25.3'
	@# mmcv-full's setup.py needs pkg_resources; told 0, it calls itself mmcv, told 1 without torch in reach it
	@# compiles nothing all the same
	@echo 'setuptools<81' > .venv/build-constraints.txt
	@MMCV_WITH_OPS=1 $(PIP) -c constraints.txt --build-constraint .venv/build-constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
