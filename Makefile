# Everything starts here: `make train` and `make test` set up all that they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILD := build/cpp
# Environment variables, because they reach the isolated build too; the second is for pip 25.3 and later.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet
SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(shell git ls-files csrc src 2>/dev/null)
CXX_FILES = $(shell git ls-files '*.cpp' '*.hpp' '*.inl')

# $(call cpp_tests,folder,further settings): the C++ tests, built there and run.
define cpp_tests
	$(BIN)/cmake -S . -B $(1) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DFASTES_BUILD_PYTHON=OFF -DFASTES_BUILD_TESTS=ON -DFASTES_WERROR=ON $(2) >/dev/null
	$(BIN)/cmake --build $(1)
	$(RUN) $(BIN)/ctest --test-dir $(1) --output-on-failure --timeout 600
endef

.PHONY: train test test-cpp test-python test-neon test-asan test-tsan lint bench exhaustive stub clean

train: $(VENV)/.installed  ## Train CartPole as examples/cartpole.toml says
	$(BIN)/fastes train examples/cartpole.toml

test: test-cpp test-python  ## Run the C++ and the Python test suites

test-cpp: $(VENV)/.installed-test
	$(call cpp_tests,$(BUILD))

test-python: $(VENV)/.installed-test
	$(BIN)/python -m pytest

test-neon: $(VENV)/.installed-test  ## The C++ tests, cross-compiled for 64-bit Arm and run under QEMU
	$(call cpp_tests,build/neon,--toolchain cmake/aarch64-linux-gnu.cmake)

test-asan: $(VENV)/.installed-test  ## The C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call cpp_tests,build/asan,-DFASTES_SANITIZE=address)

# GCC 12's ThreadSanitizer cannot start where the kernel randomises addresses by more than 28 bits: it need not.
test-tsan: RUN := $(shell setarch --addr-no-randomize true 2>/dev/null && echo setarch --addr-no-randomize)
test-tsan: $(VENV)/.installed-test  ## Kernels on many threads at once under ThreadSanitizer (no fork: it cannot follow)
	$(call cpp_tests,build/tsan,-DFASTES_SANITIZE=thread)

lint: $(VENV)/.installed-dev  ## Check style, types, layers, formats and the stub; change nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)
	$(BIN)/codespell src csrc docs benchmarks examples tools README.md CHANGELOG.md CONTRIBUTING.md
	$(BIN)/pybind11-stubgen fastes._core -o build/stub >/dev/null 2>&1 && diff build/stub/fastes/_core.pyi src/fastes/_core.pyi

bench: $(VENV)/.installed  ## Measure the kernels beside what else one would use
	$(BIN)/fastes bench

exhaustive: test-cpp  ## All 2^32 words of the transform on every instruction set (some minutes)
	$(BUILD)/csrc/tests/fastes_exhaustive

stub: $(VENV)/.installed-dev  ## Write the extension's stub anew
	$(BIN)/pybind11-stubgen fastes._core -o src >/dev/null 2>&1

clean:
	rm -rf build $(VENV)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: $(BIN)/python $(SOURCES)
	$(PIP) .
	touch $@

$(VENV)/.installed-test: $(BIN)/python $(SOURCES)
	$(PIP) '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(BIN)/python $(SOURCES)
	$(PIP) '.[dev]'
	touch $@ $(VENV)/.installed $(VENV)/.installed-test
