# Two commands do the main things: "make demo" and "make test". Each makes .venv when it is not there, and
# installs what it needs. "make test SLOW=1" runs the slow tests too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
DEV := $(VENV)/.dev
# pip shows its progress in a terminal, and nothing but errors in a log.
PIP = $(BIN)/python -m pip install $$(test -t 2 || echo --quiet) --editable

.PHONY: demo test lint fuzz clean

demo: $(CORE)
	$(BIN)/myostream demo --output demo-output

# Two processes, each with whole files: fixtures of a file are made once.
test: $(DEV)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(if $(SLOW),-m "")

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A million inputs, coverage-guided; atheris has wheels for CPython 3.11 to 3.14 on Linux x86_64.
fuzz: $(DEV)
	$(PIP) ".[fuzz]"
	for target in decoder header attributes mini_head dicom parameters settings_file hdf5 dicom_file contour_file t1_fit t2_fit; do \
		$(BIN)/python -m tests.fuzz.run $$target -runs=98000 -max_len=8192 || exit 1; \
	done
	for target in contours assembler; do \
		$(BIN)/python -m tests.fuzz.run $$target -runs=10000 -max_len=8192 || exit 1; \
	done

$(CORE): pyproject.toml
	@echo "Installing what the demo needs into $(VENV): 1.8 GB, of which torch takes 0.75; a few minutes"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) ".[report]"
	touch $@

$(DEV): $(CORE)
	@echo "Installing what the tests need into $(VENV): 1 GB more, a few minutes"
	$(PIP) ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo-output
