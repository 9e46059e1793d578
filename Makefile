# Everything starts here: `make train` and `make test` set up all that they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILD := build/cpp
# Environment variables, because they reach the isolated build too; the second is for pip 25.3 and later.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet
SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(shell git ls-files csrc src 2>/dev/null)
CXX_FILES = $(shell git ls-files '*.cpp' '*.hpp' '*.inl')

.PHONY: train test test-cpp test-python lint bench exhaustive stub clean

train: $(VENV)/.installed  ## Train CartPole as examples/cartpole.toml says
	$(BIN)/fastes train examples/cartpole.toml

test: test-cpp test-python  ## Run the C++ and the Python test suites

test-cpp: $(VENV)/.installed-test
	$(BIN)/cmake -S . -B $(BUILD) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DFASTES_BUILD_PYTHON=OFF -DFASTES_BUILD_TESTS=ON -DFASTES_WERROR=ON >/dev/null
	$(BIN)/cmake --build $(BUILD)
	$(BIN)/ctest --test-dir $(BUILD) --output-on-failure

test-python: $(VENV)/.installed-test
	$(BIN)/python -m pytest

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
