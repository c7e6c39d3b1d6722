PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
TUNER := $(BIN)/tuner
PARALLEL := -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: demo test tests test-fast test-gpu check bench results ops set-up clean

demo: $(READY)  ## set-up, then a search on images that the project draws itself
	@$(TUNER) toy data/toy
	@$(TUNER) run configs/jobs/demo.yaml
	@$(TUNER) export demo --to runs/demo-best
	@$(TUNER) report demo --to runs/demo-report.html

# Tests start many processes, each of which would compile the sources anew.
unexport PYTHONDONTWRITEBYTECODE

# Threads of one process wait for each other where two workers share two cores.
tests test-fast: export OMP_NUM_THREADS = 1

test: $(READY)  ## set-up, then checks and tests beside each other
	@$(MAKE) --no-print-directory -j 2 check tests

tests: $(READY)
	$(BIN)/pytest $(PARALLEL)

test-fast: $(READY)  ## 90 seconds: no servers, no browser, no long trainings
	$(BIN)/pytest $(PARALLEL) -m 'not cluster and not browser and not long'

test-gpu: $(READY)  ## on a machine with a GPU, better two: what no other test can show
	$(BIN)/pytest -m gpu

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/house.py

bench: $(READY)  ## tables of speed and memory; nothing else should run meanwhile
	@for script in tests/benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

results: $(READY)  ## docs/results.md, its plots and the README's part, from the numbers in configs/curves and docs/results
	@$(BIN)/python docs/results/make.py

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
