# Everything starts here: `make train` and `make test` set up all that they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILD := build/cpp
# Environment variables, because they reach the isolated build too; the second is for pip 25.3 and later.
CONSTRAINED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
PIP := $(CONSTRAINED) $(BIN)/python -m pip install --quiet
SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(shell git ls-files cmake csrc cuda src 2>/dev/null)
CXX_FILES = $(shell git ls-files '*.cpp' '*.hpp' '*.inl' '*.cu')
CUDA_BUILT = $(shell ls $(VENV)/lib/python3*/site-packages/fastes/_cuda.*.so 2>/dev/null)
CUDA_TESTS = $(shell grep -rlE --include='test_*.py' 'mark\.cuda|conformance\.device' python_tests)

# $(call cpp_build,folder,further settings,target)
define cpp_build
	$(BIN)/cmake -S . -B $(1) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DFASTES_BUILD_PYTHON=OFF -DFASTES_BUILD_TESTS=ON -DFASTES_WERROR=ON $(2) >/dev/null
	$(BIN)/cmake --build $(1) --target $(3)
endef

# $(call cpp_tests,folder,further settings): the C++ tests, built there and run.
define cpp_tests
	$(call cpp_build,$(1),$(2),all)
	$(RUN) $(BIN)/ctest --test-dir $(1) --output-on-failure --timeout 600 --parallel $(shell nproc)
endef

.PHONY: setup train test test-cpp test-python test-cuda test-cuda-build test-ptx test-neon test-asan test-tsan wheel-test lint docs bench chaos exhaustive stub clean

train: $(VENV)/.installed  ## Train CartPole as examples/cartpole.toml says
	$(BIN)/fastes train examples/cartpole.toml

setup: $(VENV)/.installed-dev  ## All that the other targets need, in .venv

test: test-cpp test-python  ## Run the C++ and the Python test suites

test-cpp: $(VENV)/.cmake
	$(call cpp_tests,$(BUILD))

test-python: $(VENV)/.installed-test
	$(call cpp_build,$(BUILD),,fastes_simulated_device)
	FASTES_SIMULATED_DEVICE=$(abspath $(BUILD))/csrc/tests/libfastes_simulated_device.so $(BIN)/python -m pytest

# With what is installed already, because machines with a GPU come with their own torch; and only files that have tests
# for GPUs, because others need packages that may be missing there.
test-cuda:  ## The tests that need a GPU, in the active environment, where fastes has to be installed
	FASTES_REQUIRE_CUDA=1 $(PYTHON) -m pytest -m cuda $(CUDA_TESTS)

test-cuda-build: $(VENV)/.installed-test  ## What nvcc and NVRTC make of the kernels for GPUs; needs no GPU
	$(BIN)/python tools/check_cuda.py

PTX_DEVICE := $(abspath build/libfastes_ptx_device.so)
test-ptx: $(VENV)/.installed-test  ## The tests of the simulated GPU on nvcc's own code, translated to C; needs no GPU
	rm -f $(PTX_DEVICE)
	$(BIN)/python tools/ptx_device.py --out $(PTX_DEVICE)
	if [ -e $(PTX_DEVICE) ]; then FASTES_SIMULATED_DEVICE=$(PTX_DEVICE) $(BIN)/python -m pytest python_tests/kernels -k simulated; fi

# The wheel is made of what the sdist holds, and without kernels for GPUs, as those that are published.
WHEEL := build/wheel
wheel-test: $(VENV)/.installed-dev  ## The sdist and the wheel: what is in them, and what they do where there is no compiler
	rm -rf $(WHEEL)
	$(CONSTRAINED) $(BIN)/python -m build --outdir $(WHEEL) -C cmake.define.FASTES_CUDA=OFF
	$(BIN)/python tools/check_wheel.py $(WHEEL)
	$(BIN)/python tools/try_wheel.py $(WHEEL)
	PYTHONPATH=$$(echo $(WHEEL)/venv/lib/python3*/site-packages) FASTES_CUDA=OFF $(BIN)/python -m pytest python_tests/test_build.py

test-neon: $(VENV)/.cmake  ## The C++ tests, cross-compiled for 64-bit Arm and run under QEMU
	$(call cpp_tests,build/neon,--toolchain cmake/aarch64-linux-gnu.cmake)

test-asan: $(VENV)/.cmake  ## The C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call cpp_tests,build/asan,-DFASTES_SANITIZE=address)

# GCC 12's ThreadSanitizer cannot start where the kernel randomises addresses by more than 28 bits: it need not.
test-tsan: RUN := $(shell setarch --addr-no-randomize true 2>/dev/null && echo setarch --addr-no-randomize)
test-tsan: $(VENV)/.cmake  ## Kernels on many threads at once under ThreadSanitizer (no fork: it cannot follow)
	$(call cpp_tests,build/tsan,-DFASTES_SANITIZE=thread)

lint: $(VENV)/.installed-dev  ## Check style, types, layers, formats and the stub; change nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)
	$(BIN)/codespell src csrc cuda cmake docs benchmarks examples tools README.md CHANGELOG.md CONTRIBUTING.md
	$(BIN)/pybind11-stubgen fastes._core -o build/stub >/dev/null 2>&1 && diff build/stub/fastes/_core.pyi src/fastes/_core.pyi
	$(if $(CUDA_BUILT),$(BIN)/pybind11-stubgen fastes._cuda -o build/stub >/dev/null 2>&1 && diff build/stub/fastes/_cuda.pyi src/fastes/_cuda.pyi)

docs: $(VENV)/.installed-dev  ## The documentation as a site, in build/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: $(VENV)/.installed  ## Measure the kernels beside what else one would use
	$(BIN)/fastes bench

CHAOS_S ?= 600
CHAOS_SEED ?= 0
chaos: $(VENV)/.installed-test  ## Runs over TCP with random harm for CHAOS_S seconds; each has to end with its digest
	mkdir -p build
	PYTHONPATH=python_tests $(BIN)/python tools/chaos.py --seconds $(CHAOS_S) --seed $(CHAOS_SEED) --json build/chaos.json

exhaustive: test-cpp  ## All 2^32 words of the transform on every instruction set (some minutes)
	$(BUILD)/csrc/tests/fastes_exhaustive

stub: $(VENV)/.installed-dev  ## Write the extensions' stubs anew
	$(BIN)/pybind11-stubgen fastes._core -o src >/dev/null 2>&1
	$(if $(CUDA_BUILT),$(BIN)/pybind11-stubgen fastes._cuda -o src >/dev/null 2>&1)

clean:
	rm -rf build $(VENV)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.cmake: $(BIN)/python constraints.txt
	$(PIP) cmake ninja
	touch $@

$(VENV)/.installed: $(BIN)/python $(SOURCES)
	@echo "Fetching PyTorch and compiling the kernels: some minutes, in which nothing is printed."
	$(PIP) .
	touch $@

$(VENV)/.installed-test: $(BIN)/python $(SOURCES)
	$(PIP) '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(BIN)/python $(SOURCES)
	$(PIP) '.[dev]'
	touch $@ $(VENV)/.installed $(VENV)/.installed-test
