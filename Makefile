# `make demo` and `make test` do all the set-up themselves: a virtual environment in .venv from requirements.lock.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: demo test test-slow check format settings docs notebooks bench bench-gpu lock clean

demo: $(VENV)/ready  ## the whole pipeline on photographs that come with scikit-image
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro
	@cat build/report/table.md
	@echo "page: build/report/report.html   table: build/report/table.md   pictures: build/report/crops.png build/report/curves.png"

test: $(VENV)/ready  ## all tests but the slow ones
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-slow: $(VENV)/ready  ## minutes long; needs the data of DUKD_DATA
	$(BIN)/python -m pytest -m slow

check: $(VENV)/ready  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv-bench/ready  ## half an hour; BENCH="build step" measures these only
	$(BIN)/python -m benchmarks $(BENCH) --competitors .venv-bench/bin/python

bench-gpu: $(VENV)/ready  ## on a machine with a GPU
	$(BIN)/python -m benchmarks gpu --out build/benchmarks-gpu.json

# The readers to compare with, on top of .venv's packages; without them (no network) their figures are left out.
.venv-bench/ready: $(VENV)/ready benchmarks/requirements.txt
	@$(BIN)/python -m venv .venv-bench
	@$(BIN)/python -c "import sysconfig as s; print('import site; site.addsitedir(%r)' % s.get_path('purelib'))" > \
		$$(.venv-bench/bin/python -c "import sysconfig as s; print(s.get_path('purelib'))")/main.pth
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt && touch $@ \
		|| echo "some of benchmarks/requirements.txt cannot be installed: left out of the comparison"

# Packages are compiled to bytecode, as pip does and uv does not: where nothing else writes it (PYTHONDONTWRITEBYTECODE, a
# folder for reading only), each process would compile PyTorch anew, which takes longer than importing it.
$(VENV)/ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "dukd needs Python 3.11 or newer, found none; set PYTHON=/path/to/python"; exit 2; }
	@if command -v uv >/dev/null; then \
		uv venv --quiet --allow-existing --python "$(PYTHON)" $(VENV) && \
		uv pip install --compile-bytecode --python $(BIN)/python -r requirements.lock && \
		uv pip install --quiet --python $(BIN)/python --no-deps -e . ; \
	else \
		"$(PYTHON)" -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e . ; \
	fi
	@touch $@

settings: $(VENV)/ready  ## the tables of all settings in docs/settings.md
	{ sed '/^<!-- The rest/q' docs/settings.md; \
		printf '\n## Settings of a training\n\n'; $(BIN)/dukd-train schema --markdown; \
		printf '\n## Settings of a cache\n\n'; $(BIN)/dukd-cache schema --markdown; } > docs/settings.new
	mv docs/settings.new docs/settings.md

docs: settings  ## the documentation site, in build/docs
	$(BIN)/python -m sphinx -q -b html -W --keep-going -d build/docs/.doctrees docs build/docs
	@echo "site: build/docs/index.html"

notebooks: $(VENV)/ready  ## runs the notebooks of docs/ anew and keeps what they show
	$(BIN)/jupyter execute --inplace docs/notebooks/*.ipynb

lock:  ## pin what pyproject.toml asks for; needs uv
	uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-emit-index-url \
		--extra demo --extra dev --extra docs --extra export --extra perceptual --extra ray --extra s3 \
		--custom-compile-command "make lock" pyproject.toml -o requirements.lock

clean:  ## the demo's results, not the environment
	rm -rf build
