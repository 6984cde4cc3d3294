# make demo         set up .venv and run the main job
# make test         set up .venv and run the tests
# make test-fast    the tests that need no C compiler
# make test-triton  those of kernels with another Triton: make test-triton TRITON=3.6.0
# make gpu-report   all kernels compiled for GPUs that are not here; make gpu-report ARCH=sm_90 BATCH=8
# make fuzz         random graphs, files and calls: make fuzz COUNT=100000 SEED=0
# make bench        other engines beside this one: docs/measured_against_engines.md
# make lint         style, format and types
# make clean        remove .venv and what tools left behind

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test test-fast test-triton gpu-report fuzz bench lint clean

demo: $(READY)
	$(BIN)/python -m graphcnn demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

# A compiler that does not exist and a cache without kernels: a test that needs one fails.
test-fast: $(READY)
	CC=none TRITON_CACHE_DIR=.pytest_cache/triton $(BIN)/python -m pytest -n 2 -m pure

# What a torch for CUDA brings: 3.6 (2.11), 3.7 (2.12, 2.13), 3.8 (2.14). All else is that of .venv,
# behind it on the path. ONE_IN=8 takes each eighth test.
TRITON ?= 3.7.1
ONE_IN ?= 1
TRITON_VENV := .venv-triton-$(TRITON)

test-triton: $(TRITON_VENV)/ready
	$(TRITON_VENV)/bin/python -m pytest -n 2 --dist worksteal --every-kernel --one-in $(ONE_IN) tests/kernels tests/test_triton_api.py tests/cpu/test_corpus.py tests/targets/test_gpu_configurations.py tests/runtime/test_stand_in_gpu.py

$(TRITON_VENV)/ready: $(READY)
	$(PYTHON) -m venv $(TRITON_VENV)
	$(TRITON_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps triton==$(TRITON)
	@$(BIN)/python -c "import site; print(f'import site; site.addsitedir({site.getsitepackages()[0]!r})')" > $(TRITON_VENV)/beside.pth
	@mv $(TRITON_VENV)/beside.pth $(TRITON_VENV)/lib/python*/site-packages/
	@touch $@

ARCH ?= sm_80,sm_86,sm_89,sm_90,sm_100,sm_120
BATCH ?= 1

# Each kernel with each tile, against the golden table; then every launch of six networks.
gpu-report: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal --every-kernel tests/kernels/test_gpu_compile.py tests/kernels/test_gpu_counts.py tests/kernels/test_precisions_on_gpus.py tests/targets/test_gpu_configurations.py
	@status=0; for network in vgg16 resnet18 resnet50 unet mobilenet_v2 alexnet; do \
	for dtype in float16 bfloat16 float32; do \
	$(BIN)/python -m graphcnn gpu-report $$network --dtype $$dtype --batch $(BATCH) --arch $(ARCH) || status=1; \
	done; done; exit $$status

COUNT ?= 1000
SEED ?= 0

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz all --count $(COUNT) --seed $(SEED)

# Anew; what was interrupted goes on with `.venv/bin/python -m bench.engines`.
bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[engines]"
	rm -f bench/results/engines_cpu.json
	$(BIN)/python -m bench.engines
	$(BIN)/python -m bench.engines.report

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "graphcnn needs Python 3.11 or later: make PYTHON=python3.12"; exit 1; }
	@echo "setting up .venv: torch, triton and the test tools; a few minutes the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,torchvision]"
	@touch $(READY)

clean:
	rm -rf .venv .venv-triton-* .pytest_cache .mypy_cache .ruff_cache .hypothesis graphcnn.egg-info build
