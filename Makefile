# Two commands on a machine that has only Python (3.10 or newer) and make:
#   make demo    install into .venv and run the main job on embedded data
#   make test    install what the tests need, too, and run them
PYTHON ?= python3
# The networks of the demo and the tests are small: on a busy machine, threads that wait for each
# other cost more than they bring.
export OMP_NUM_THREADS ?= 1
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: demo test test-lowest soak fuzz lint docs clean

demo: $(VENV)/.demo
	$(PY) examples/demo.py --out demo_output

test: $(VENV)/.test
	$(PY) -m pytest -n auto --dist worksteal

# On the lowest versions that setup.cfg allows (`make test` takes the newest).
test-lowest: $(VENV)-lowest/.test
	$(VENV)-lowest/bin/python -m pytest -n auto

# What takes too long for `make test`: prints what was tried, and fails if anything was lost.
soak: $(VENV)/.test
	$(PY) tests/soak

# New inputs each time, each test for so many seconds (docs/reliability.md).
fuzz: export HISTOEXPR_FUZZ_SECONDS ?= 20
fuzz: $(VENV)/.test
	$(PY) -X faulthandler -m pytest -n auto tests/fuzz $(wildcard tests/reliability/test_properties_*.py)

lint: $(VENV)/.test
	$(PY) -m flake8 histoexpr tests examples benchmarks docs

# From scratch, so that no page of a name that is gone stays behind.
docs: $(VENV)/.docs
	rm -rf docs/_build docs/gallery docs/generated
	$(PY) -m sphinx -b html -W --keep-going docs docs/_build/html

$(PY):
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg pyproject.toml | $(PY)
	$(PY) -m pip install --disable-pip-version-check -e '.[texture,plot]'
	touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(PY)
	$(PY) -m pip install --disable-pip-version-check -e '.[test]'
	touch $@

$(VENV)-lowest/.test: setup.cfg pyproject.toml tests/constraints-lowest.txt
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --disable-pip-version-check --prefer-binary \
		-c tests/constraints-lowest.txt -e '.[test]'
	touch $@

$(VENV)/.docs: setup.cfg pyproject.toml | $(PY)
	$(PY) -m pip install --disable-pip-version-check -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist *.egg-info demo_output her2st_output
	rm -rf docs/_build docs/gallery docs/generated
