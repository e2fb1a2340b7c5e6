# The verbs of this project. `make demo` and `make test` set up everything they need.

PYTHON ?= python3.11
VENV ?= .venv
export PATH := $(abspath $(VENV))/bin:$(PATH)

# No tool phones home.
export RAY_USAGE_STATS_ENABLED = 0
export MLFLOW_DISABLE_TELEMETRY = true
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION = false
export DVC_NO_ANALYTICS = true
export NO_ALBUMENTATIONS_UPDATE = 1
# Whoever speaks to Ray itself needs its token.
export RAY_AUTH_MODE = token
# Ray's own ports of the demo's service: loopback alone.
demo: export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER = 0

.DEFAULT_GOAL := help
.PHONY: help demo test check format serve ui sample clean

help:  ## This list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/ready: pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[dev,s3]"
	touch $@

demo: $(VENV)/ready  ## The whole line on the embedded sample: data, training, registry, service, build/demo.png
	dvc pull
	dvc repro register@pix2pix register@colorgan
	python demo.py

# Most of the line's time is processes that start one after the other: everything else is checked and tested beside it.
test: $(VENV)/ready  ## Everything that CI runs
	@mkdir -p build
	@(make check && OMP_NUM_THREADS=1 nice pytest --ignore tests/line --ignore tests/faults) > build/tests.log 2>&1 & \
	beside=$$!; pytest tests/line tests/faults; rest=$$?; \
	wait $$beside || rest=1; cat build/tests.log; exit $$rest

check: $(VENV)/ready  ## Lint, types and import rules
	ruff check .
	ruff format --check .
	mypy
	lint-imports

format: $(VENV)/ready  ## Let ruff lay out the code
	ruff check --fix .
	ruff format .

serve: $(VENV)/ready  ## The service on http://127.0.0.1:8000
	python -m serving

ui: $(VENV)/ready  ## MLflow on http://127.0.0.1:5000
	mlflow ui --host 127.0.0.1 --port 5000

sample: $(VENV)/ready  ## Paint the embedded sample again (what samples/ holds)
	python -m pipelines.sample

clean:  ## Remove what the stages made; the registry (mlflow.db, mlruns/) stays
	rm -rf build
