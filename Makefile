VENV ?= .venv
PY := $(VENV)/bin/python

.PHONY: install proto lint types test demo bench chaos clean
$(VENV)/.installed: pyproject.toml
	python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --editable '.[dev]'
	touch $@
install: $(VENV)/.installed

proto: install
	$(PY) -m grpc_tools.protoc -Iproto/qanat --python_out=qanat/wire --pyi_out=qanat/wire proto/qanat/v1/*.proto
