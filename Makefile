# Everything a fresh machine needs: make demo, make test, make check. Each makes .venv first where it is missing.
# The files with the longest tests come early, so that no worker is left with them: not ordered by how many tests there are.
# Tests of profilers and devices watch clocks and processes: they run alone.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check format clean

demo: .venv/.all
	$(BIN)/python tools/demo.py

# Both parts run, whatever comes of the first.
test: .venv/.dev
	failed=0; \
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --durations 20 tests/contracts tests/hwnas tests/lut tests/test_imports.py \
		|| failed=1; \
	$(BIN)/pytest --durations 20 tests/profilers tests/devices || failed=1; \
	test $$failed -eq 0

check: .venv/.dev
	$(BIN)/ruff format --check hwnas lut profilers tests tools
	$(BIN)/ruff check hwnas lut profilers tests tools
	$(BIN)/mypy

format: .venv/.dev
	$(BIN)/ruff format hwnas lut profilers tests tools
	$(BIN)/ruff check --fix hwnas lut profilers tests tools

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis demo-work

# Exact versions, so that the demo and CI run what was tested; torch's pin is the build without CUDA where there is one.
.venv/.all .venv/.dev: .venv/.%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$*]'
	touch $@
