# Two commands on a machine that has only Python (3.10 or newer) and make:
#   make demo    install into .venv and run the main job on embedded data
#   make test    install what the tests need, too, and run them
PYTHON ?= python3
# The networks of the demo and the tests are small: on a busy machine, threads that wait for each
# other cost more than they bring.
export OMP_NUM_THREADS ?= 1
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: demo test lint clean

demo: $(VENV)/.demo
	$(PY) examples/demo.py --out demo_output

test: $(VENV)/.test
	$(PY) -m pytest -n auto

lint: $(VENV)/.test
	$(PY) -m flake8 histoexpr tests examples

$(PY):
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg pyproject.toml | $(PY)
	$(PY) -m pip install --disable-pip-version-check -e '.[texture,plot]'
	touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(PY)
	$(PY) -m pip install --disable-pip-version-check -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info demo_output her2st_output
