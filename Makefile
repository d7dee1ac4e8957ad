# Run these in a virtual environment that has `pip install -e ".[dev]"`.
PYTHON ?= python
C_FILES = $(wildcard csrc/*.h csrc/*.c csrc/cells/*.h tests/c/*.c)

.PHONY: build help debug test test-all bench lint format annotate sanitize cross clean

build:  ## compile the extension modules in place
	$(PYTHON) setup.py build_clib build_ext --inplace

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

debug:  ## the same with AddressSanitizer and UBSan; run Python under it with LD_PRELOAD=$(gcc -print-file-name=libasan.so)
	FASTRNN_SANITIZE=1 $(PYTHON) setup.py build_clib --force build_ext --inplace --force

test:  ## all tests but the slow ones
	$(PYTHON) -m pytest -m "not slow"

test-all:  ## every test, and every instruction set of this machine as the default one
	$(PYTHON) -m pytest
	FASTRNN_ISA=baseline $(PYTHON) -m pytest -q tests/engine

bench:  ## fastrnn against every installed peer, results checked, in turns in one run
	$(PYTHON) -m fastrnn bench

lint:  ## style, types, and the format of the C files
	ruff check .
	ruff format --check .
	cython-lint src/fastrnn/*.pyx src/fastrnn/*.pxd
	clang-format --dry-run -Werror $(C_FILES)
	mypy

format:  ## put Python and C files into form
	ruff check --fix .
	ruff format .
	clang-format -i $(C_FILES)

annotate:  ## Cython's annotated sources: yellow lines touch Python, none may stand in a time loop
	mkdir -p build/annotate
	cd build/annotate && for m in _forward _backward _step; do cython --annotate -3 -I ../../src ../../src/fastrnn/$$m.pyx -o $$m.c; done
	@echo "open build/annotate/*.html"

sanitize:  ## the C kernels alone under AddressSanitizer and UBSan, the threads under ThreadSanitizer
	tests/c/run.sh

cross:  ## the C kernels' tests on aarch64, with Debian's gcc-aarch64-linux-gnu and qemu-user
	SANITIZE= CC=aarch64-linux-gnu-gcc RUN="qemu-aarch64 -L /usr/aarch64-linux-gnu" tests/c/run.sh

clean:  ## remove what was built
	rm -rf build dist src/*.egg-info src/fastrnn/*.so
	find . -name __pycache__ -prune -exec rm -rf {} +
