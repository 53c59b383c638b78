# Everything sets itself up: any target works as the first command after a clone.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PROTOS := proto/analytics/v1/service.proto proto/spoold/admin/v1/admin.proto proto/spoold/record/v1/record.proto
PROTOC := $(BIN)/python -m grpc_tools.protoc -Ispoold/api=proto

.PHONY: help demo run test proofs lint bench sim soak deb vmtest proto clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(READY): pyproject.toml
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY) ## watch it: 120 events in and out, a kill -9 in the middle, nothing lost
	@$(BIN)/python -m tests.demo

run: $(READY) ## the daemon in test mode, in the foreground
	@TEST_MODE=true LOG_FORMAT=console HOST=127.0.0.1 SPOOL_URL=sqlite://$(CURDIR)/build/run ADMIN_SOCKET=$(CURDIR)/build/run/admin.sock $(BIN)/spoold

test: $(READY) ## all tests
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile

proofs: $(READY) ## what takes longer: kills, power cuts, full and failing disks, abuse, the dashboard and the alerts
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile tests/crash tests/power tests/disk_trouble tests/abuse tests/monitoring

lint: $(READY) ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: $(READY) ## speed and memory, as ratios
	@$(BIN)/python -m tests.bench

sim: $(READY) ## the simulator: SEED=n replays one run, SEEDS=n explores that many
	@$(BIN)/python -m tests.sim $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS))

soak: $(READY) ## every proof on all processors: HOURS=8, or ROUNDS=n of each, PROOF=name, SEED=n
	@$(BIN)/python -m tests.soak $(if $(HOURS),--hours $(HOURS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(PROOF),--proof $(PROOF)) $(if $(SEED),--seed $(SEED))

deb: ## dist/spoold_VERSION_ARCH.deb for this Debian (as root: installs what it needs)
	@packaging/build-deb.sh

vmtest: $(READY) ## the package on a real Debian with a real systemd (as root)
	@$(BIN)/python -m tests.vm

proto: $(READY) ## generate spoold/api from proto/
	@$(PROTOC) --python_out=. --pyi_out=. $(PROTOS)
	@$(PROTOC) --grpc_python_out=. $(filter-out %record.proto,$(PROTOS))

clean: ## forget everything that was made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
