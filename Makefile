# Two commands do the main things: "make demo" and "make test". Each makes .venv when it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint fuzz clean

demo: $(STAMP)
	$(BIN)/myostream demo --output demo-output

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A million inputs, coverage-guided; atheris has wheels for CPython 3.11 to 3.14 on Linux x86_64.
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable ".[fuzz]"
	for target in decoder header attributes mini_head dicom parameters settings_file hdf5 t1_fit t2_fit; do \
		$(BIN)/python -m tests.fuzz.run $$target -runs=98000 -max_len=8192 || exit 1; \
	done
	for target in contours assembler; do \
		$(BIN)/python -m tests.fuzz.run $$target -runs=10000 -max_len=8192 || exit 1; \
	done

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo-output
