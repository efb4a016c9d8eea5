# make demo   set up what the demo needs, and run it
# make test   set up what the tests need, and run them      (PYTEST="-k resize" narrows them down)
# make lint   ruff, mypy --strict and import-linter
# make docs   the pages of docs/, into docs/_build/html
# make constraints   resolve constraints.txt anew
# make clean  remove what these made
#
# Set-up happens once, in .venv, and again when pyproject.toml or constraints.txt change. Another
# interpreter: make demo PYTHON=/path/to/python3.12
#
# Every path is relative and every tool runs as a module of .venv's interpreter, because a checkout
# may lie under a path with a space in it, which make's lists and a script's first line cannot hold.

VENV := .venv
RUN := $(VENV)/bin/python
PYTHON ?=
PYTHONS := python3 python3.13 python3.12 python3.11 python3.10 python
PYTEST ?=

.PHONY: demo test lint docs constraints clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed-demo
	$(RUN) demo/demo.py

test: $(VENV)/.installed-test
	$(RUN) -m pytest -n auto --maxprocesses=4 --dist=worksteal $(PYTEST)

lint: $(VENV)/.installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy --strict
	$(RUN) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

docs: $(VENV)/.installed-dev
	$(RUN) -m sphinx --fail-on-warning --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

constraints: $(VENV)/.installed-demo
	$(RUN) -m pip install --quiet uv
	$(RUN) -m uv pip compile pyproject.toml --all-extras --universal --python-version 3.10 \
	    --no-annotate --upgrade --custom-compile-command 'make constraints' -o constraints.txt

clean:
	rm -rf $(VENV) out docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	    .import_linter_cache

# -e: the checkout itself is what runs, so a change of the source needs no new set-up.
$(VENV)/.installed-%: $(RUN) pyproject.toml constraints.txt
	$(RUN) -m pip install --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@

# The first interpreter that is new enough and can make virtual environments.
$(RUN):
	@found=; \
	for python in $(if $(PYTHON),"$(PYTHON)",$(PYTHONS)); do \
	    version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) \
	        || continue; \
	    case "$$version" in 2.*|3.[0-9]) found="$$found $$python is $$version;"; continue;; esac; \
	    if "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
	        echo "Making $(VENV) with $$python ($$version)"; \
	        "$$python" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }; \
	        exit 0; \
	    fi; \
	    found="$$found $$python is $$version but lacks venv or ensurepip;"; \
	done; \
	echo "percert needs Python 3.10 or newer with venv. Found:$${found:- none}" >&2; \
	echo "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name it:" \
	    "make demo PYTHON=/path/to/python3" >&2; \
	exit 1
