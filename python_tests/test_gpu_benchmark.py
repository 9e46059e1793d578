"""`benchmarks/gpu.py` as far as it goes without a GPU: arithmetic, floors, what it starts, the file, the status."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clock import Clock

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
CARD = {
    "name": "A card",
    "compute_capability": "9.0",
    "multiprocessors": 132,
    "memory_bytes": 141 << 30,
    "driver_cuda": "13.0",
}
TOOLS = dict.fromkeys(("numpy", "torch", "pytest", "scikit_build_core", "pybind11", "cmake", "ninja"), "1")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules that need no GPU, and the command."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu
    from on_gpu import card, checks, figures, phases

    return SimpleNamespace(gpu=gpu, card=card, checks=checks, figures=figures, phases=phases)


def record_of(on_gpu: Any, **parts: Any) -> dict[str, Any]:
    """A run's record, tests passed and all floors held, but for `parts`."""
    record: dict[str, Any] = on_gpu.figures.empty_record()
    record |= {"card": CARD, "tools": TOOLS}
    record["tests"] = on_gpu.checks.test_results("a.py::test_one PASSED [100%]")
    on_gpu.figures.add(record, held(), "sums")
    return record | parts


def held(**changed: float) -> list[dict[str, Any]]:
    """Lines of a measuring process that hold all floors by a tenth, but for `changed` rates and ratios."""
    values = {
        "normal": 440e9,
        "normal over torch": 2.2,
        "rademacher over normal": 3.3,
        "normal8 over normal": 3.3,
        "low rank over inference": 0.88,
        "perturb over fill": 0.9,
    } | {name.replace("_", " "): value for name, value in changed.items()}
    rate = values.pop("normal")
    lines = [measured("sum: normal", [1e12 / rate] * 3, amount=1e12, floor="normal")]
    lines.append(measured("CartPole", [1.0] * 3, amount=22e6, floor="environment steps"))
    return lines + [
        {"type": "ratio", "what": name, "against": "it", "rounds": [value] * 3, "floor": name}
        for name, value in values.items()
    ]


def measured(
    name: str, seconds: Sequence[float], *, amount: float = 0.0, floor: str = "", **fields: Any
) -> dict[str, Any]:
    line = {"type": "measurement", "name": name, "series": name, "ours": True, "amount": amount, "unit": "normals"}
    return line | {"seconds": list(seconds), "floor": floor} | fields


# Arithmetic


def test_a_summary_has_median_minimum_and_quartiles(on_gpu: Any) -> None:
    assert on_gpu.figures.summary([5.0, 1.0, 4.0, 2.0, 3.0]) == {
        "repetitions": 5,
        "median": 3.0,
        "minimum": 1.0,
        "quartiles": [2.0, 4.0],
    }
    assert on_gpu.figures.summary([7.0])["quartiles"] == [7.0, 7.0]


def test_a_rate_is_of_the_median(on_gpu: Any) -> None:
    line = measured("a", [2.0, 1.0, 4.0], amount=8e11, floor="normal")
    figures = on_gpu.figures.measurement(line)
    assert figures["rate"] == 4e11
    assert figures["holds"]
    assert not on_gpu.figures.measurement(line | {"amount": 7.99e11})["holds"]
    assert "rate" not in on_gpu.figures.measurement(line | {"amount": 0.0})


@pytest.mark.parametrize("name", ["normal over torch", "rademacher over normal", "perturb over fill"])
def test_a_floor_judges_the_median_of_the_rounds(on_gpu: Any, name: str) -> None:
    least = on_gpu.figures.FLOORS[name].at_least
    line = {"type": "ratio", "what": "a", "against": "b", "rounds": [0.5 * least, least, 2 * least], "floor": name}
    assert on_gpu.figures.ratio(line)["holds"]
    line["rounds"] = [0.5 * least, 0.999 * least, 2 * least]
    assert not on_gpu.figures.ratio(line)["holds"]


def test_floors_are_those_that_were_asked_for(on_gpu: Any) -> None:
    assert {name: floor.at_least for name, floor in on_gpu.figures.FLOORS.items()} == {
        "normal": 400e9,
        "normal over torch": 2.0,
        "rademacher over normal": 3.0,
        "normal8 over normal": 3.0,
        "low rank over inference": 0.8,
        "perturb over fill": 0.85,
        "environment steps": 20e6,
    }
    assert on_gpu.figures.FLOORS["normal"].goal == 700e9


def test_a_line_that_was_cut_off_is_left_out(on_gpu: Any) -> None:
    whole = json.dumps({"type": "skipped", "name": "a", "reason": "b"})
    assert on_gpu.figures.parsed(f'{whole}\n3\n{{"type": "meas') == [json.loads(whole)]


# What makes a run fail


def test_a_run_that_is_as_it_should_be(on_gpu: Any) -> None:
    assert on_gpu.figures.failures(record_of(on_gpu)) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("normal", 399e9, "floor missed: weighted_sum normal >= 400 G/s, goal 700 G/s: sum: normal: 399.0"),
        (
            "normal8_over_normal",
            2.9,
            "floor missed: weighted_sum normal8 >= 3 x normal: normal8 over normal against it",
        ),
    ],
)
def test_a_missed_floor(on_gpu: Any, name: str, value: float, message: str) -> None:
    record = record_of(on_gpu, measurements=[], ratios=[])
    on_gpu.figures.add(record, held(**{name: value}), "sums")
    (failure,) = on_gpu.figures.failures(record)
    assert failure.startswith(message)


def test_a_floor_that_nothing_measured(on_gpu: Any) -> None:
    failures = on_gpu.figures.failures(record_of(on_gpu, ratios=[]))
    assert len(failures) == 5
    assert all(failure.startswith("floor not measured: ") for failure in failures)


@pytest.mark.parametrize(
    ("parts", "failure"),
    [
        ({"tests": {"failing": ["a.py::test_two"]}}, "test failed: a.py::test_two"),
        ({"sanitizer": {"racecheck": {"errors": 2}}}, "racecheck: 2 errors"),
        ({"phases": [{"name": "build", "status": "failed: no room"}]}, "build: failed: no room"),
        ({"phases": [{"name": "tests", "status": "timed out"}]}, "tests: timed out"),
        ({"errors": [{"name": "a", "ours": True, "detail": "Trace\nValueError: b"}]}, "a: ValueError: b"),
        (
            {"build": {"built": "with the extension"}, "about": {"route": "nvrtc"}},
            "the extension was built, but the route in use is 'nvrtc'",
        ),
    ],
)
def test_what_else_fails_a_run(on_gpu: Any, parts: dict[str, Any], failure: str) -> None:
    assert on_gpu.figures.failures(record_of(on_gpu, **parts)) == [failure]


@pytest.mark.parametrize(
    "parts",
    [
        {"phases": [{"name": "memcheck", "status": "no time left"}]},
        {"phases": [{"name": "measure nvrtc", "status": "not available"}]},
        {"errors": [{"name": "torch", "ours": False, "detail": "out of memory"}]},
        {"sanitizer": {"memcheck": {"outcome": "not found"}}},
    ],
)
def test_what_is_noted_but_fails_no_run(on_gpu: Any, parts: dict[str, Any]) -> None:
    assert on_gpu.figures.failures(record_of(on_gpu, **parts)) == []


def test_routes_are_compared_by_answers_and_times(on_gpu: Any) -> None:
    record = record_of(on_gpu)
    lines = [{"type": "answer", "name": "a", "route": route, "value": "1"} for route in ("extension", "nvrtc")]
    lines += [{"type": "answer", "name": "b", "route": route, "value": route} for route in ("extension", "nvrtc")]
    lines += [measured("r", [2.0], route="extension"), measured("r", [3.0], route="nvrtc")]
    on_gpu.figures.add(record, lines, "routes")
    on_gpu.figures.compared_routes(record)
    assert record["routes"]["answers"]["a"]["equal"]
    assert record["routes"]["nvrtc_seconds_over_extension"] == {"r": 1.5}
    (failure,) = on_gpu.figures.failures(record)
    assert failure.startswith("b differs between the routes")


# Build, tests, sanitizers


def runner(
    on_gpu: Any, answer: Callable[[Sequence[str]], tuple[int, str]], clock: Clock | None = None, takes_s: float = 1.0
) -> tuple[Any, list[tuple[list[str], dict[str, str]]]]:
    """A runner whose commands answer without being run, and the list of those."""
    commands: list[tuple[list[str], dict[str, str]]] = []

    def run(command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None) -> Any:
        commands.append((list(command), dict(environment or {})))
        if clock is not None:
            clock.pass_(takes_s)
        status, output = answer(command)
        return on_gpu.phases.Finished(status, output, takes_s)

    return run, commands


def test_the_build_falls_back_to_one_without_the_extension(on_gpu: Any) -> None:
    record = record_of(on_gpu)
    attempts = on_gpu.checks.build_attempts("/usr/bin/nvcc", "9.0")
    assert attempts[0][1]["CMAKE_ARGS"] == "-DFASTES_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=90-real"
    assert on_gpu.checks.build_attempts(None, "9.0") == attempts[1:]
    outcomes = iter([(1, "nvcc says no"), (0, "")])
    run, commands = runner(on_gpu, lambda _: next(outcomes))
    status, found = on_gpu.checks.build(100.0, record, run, attempts=attempts)
    assert status == "failed at first, then done without the extension"
    assert found == {}
    assert [environment["FASTES_CUDA"] for _, environment in commands] == ["ON", "OFF"]
    assert record["build"]["attempts"][0]["output"] == "nvcc says no"


def test_the_build_goes_elsewhere_where_packages_cannot_be_written(on_gpu: Any) -> None:
    outcomes = iter([(1, "error: externally-managed-environment"), (0, "")])
    run, commands = runner(on_gpu, lambda _: next(outcomes))
    attempts = on_gpu.checks.build_attempts(None, "9.0")
    status, found = on_gpu.checks.build(100.0, record_of(on_gpu), run, attempts=attempts)
    assert status == "done"
    assert found["PYTHONPATH"] == commands[1][0][commands[1][0].index("--target") + 1]


def test_a_build_without_its_tools_says_what_to_install(on_gpu: Any) -> None:
    record = record_of(on_gpu, tools={"cmake": "4", "ninja": "1", "pybind11": "3"})
    status, _ = on_gpu.checks.build(100.0, record, runner(on_gpu, lambda _: (0, ""))[0], attempts=[])
    assert "this Python lacks scikit_build_core" in status
    assert "pip install scikit_build_core" in status


PYTEST_OUTPUT = """
python_tests/kernels/test_device.py::test_sum[normal-4 x 7] PASSED [ 20%]
python_tests/kernels/test_device.py::test_sum[normal8] FAILED [ 40%]
python_tests/kernels/test_device.py::test_route SKIPPED (no CuPy) [ 60%]
python_tests/kernels/test_device.py::test_graph ERROR [ 80%]
=========================== short test summary info ============================
FAILED python_tests/kernels/test_device.py::test_sum[normal8] - AssertionError: 3 bits
ERROR python_tests/test_gym.py - ModuleNotFoundError: No module named 'gymnasium'
ERROR python_tests/test_typo.py - NameError: name 'x' is not defined
"""


def test_results_of_pytest(on_gpu: Any) -> None:
    results = on_gpu.checks.test_results(PYTEST_OUTPUT)
    assert (results["passed"], results["failed"], results["skipped"]) == (1, 3, 1)
    assert results["failing"] == [
        "python_tests/kernels/test_device.py::test_sum[normal8]",
        "python_tests/kernels/test_device.py::test_graph",
        "python_tests/test_typo.py: NameError: name 'x' is not defined",
    ]
    assert results["reasons"] == {"python_tests/kernels/test_device.py::test_sum[normal8]": "AssertionError: 3 bits"}
    assert results["not_collected"] == {"python_tests/test_gym.py": "ModuleNotFoundError: No module named 'gymnasium'"}


def test_the_files_with_cuda_tests_are_found(on_gpu: Any, tmp_path: Path) -> None:
    assert on_gpu.checks.cuda_tests(tmp_path) == [str(tmp_path)]
    for folder in ("below", "kernels"):
        (tmp_path / folder).mkdir()
    mark, suite = "@pytest.mark." + "cuda", "from conformance." + "device"  # apart, or this very file would be found
    for name, text in {"test_a.py": mark, "test_b.py": "", "below/test_c.py": suite, "kernels/test_d.py": mark}.items():
        (tmp_path / name).write_text(text)
    found = [str(tmp_path / name) for name in ("kernels", "below/test_c.py", "test_a.py")]
    assert on_gpu.checks.cuda_tests(tmp_path) == found


def test_the_cuda_tests_are_required(on_gpu: Any) -> None:
    record = record_of(on_gpu)
    run, commands = runner(on_gpu, lambda _: (1, PYTEST_OUTPUT))
    assert on_gpu.checks.tests(100.0, record, run, {"PYTHONPATH": "here"}) == "done"
    command, environment = commands[0]
    assert command[command.index("-m", 3) + 1] == "cuda"
    assert environment["FASTES_REQUIRE_CUDA"] == "1"
    assert environment["PYTHONPATH"] == "here"
    assert record["tests"]["output"] == PYTEST_OUTPUT
    assert on_gpu.checks.tests(100.0, record, runner(on_gpu, lambda _: (5, ""))[0], {}) == "failed: no CUDA test passed"


def test_pytest_takes_the_command(on_gpu: Any, tmp_path: Path) -> None:
    """Of this very repository, without the plugins that a machine with a GPU may lack."""
    command = on_gpu.checks.pytest_command({}, 50.0)
    extra = [
        "--collect-only",
        "-q",
        "-p",
        "no:timeout",
        "-p",
        "no:benchmark",
        str(ROOT / "python_tests/test_layers.py"),
    ]
    command = command[: -len(on_gpu.checks.cuda_tests())]
    done = subprocess.run([*command, *extra], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 5, done.stdout + done.stderr  # nothing there is marked cuda
    assert "deselected" in done.stdout


@pytest.mark.parametrize(
    ("output", "status", "errors", "ended"),
    [
        ("========= ERROR SUMMARY: 0 errors", 0, 0, "done"),
        ("========= ERROR SUMMARY: 3 errors", 0, 3, "failed: 3 errors, done"),
        ("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)", 0, 0, "done"),
        ("========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)", 0, 1, "failed: 1 errors, done"),
        (
            "========= Error: Device not supported\n========= ERROR SUMMARY: 1 error",
            1,
            0,
            "not available: Device not supported",
        ),
        ("Segmentation fault", -11, 0, "failed: no summary"),
    ],
)
def test_what_a_sanitizer_says(on_gpu: Any, output: str, status: int, errors: int, ended: str) -> None:
    record = record_of(on_gpu)
    finished = on_gpu.phases.Finished(status, output, 1.0)
    assert on_gpu.checks.judged_sanitizer("memcheck", record, finished) == ended
    assert record["sanitizer"]["memcheck"]["errors"] == errors


# The command


def test_without_a_gpu_it_says_so(on_gpu: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def no_driver() -> Any:
        raise OSError("libcuda.so.1: cannot open shared object file")

    path = tmp_path / "run.json"
    assert on_gpu.gpu.main(["--json", str(path)], find_card=lambda: on_gpu.card.card(no_driver)) == 2
    output = capsys.readouterr()
    assert "no GPU to measure: libcuda.so.1 is not to be found" in output.err
    assert "Traceback" not in output.err
    assert not path.exists()


class Driver:
    """As much of libcuda as `card` asks."""

    def __init__(self, count: int, status: int = 0) -> None:
        self.count, self.status = count, status

    def cuInit(self, flags: int) -> int:
        return self.status

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self.count
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> None:
        device._obj.value = number

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> None:
        name.value = b"A card"

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> None:
        memory._obj.value = 141 << 30

    def cuDriverGetVersion(self, version: Any) -> None:
        version._obj.value = 13020

    def cuDeviceGetAttribute(self, value: Any, number: int, device: Any) -> None:
        value._obj.value = {75: 9, 76: 0, 16: 132}.get(number, number)


def test_a_card_as_its_driver_has_it(on_gpu: Any) -> None:
    found = on_gpu.card.card(lambda: Driver(1))
    assert CARD.items() <= (found | {"driver_cuda": "13.0"}).items()
    assert found["driver_cuda"] == "13.2"
    assert found["l2_bytes"] == 38


@pytest.mark.parametrize(("driver", "why"), [(Driver(0), "the driver shows none"), (Driver(1, 100), "error 100")])
def test_a_driver_without_a_gpu(on_gpu: Any, driver: Driver, why: str) -> None:
    with pytest.raises(on_gpu.card.NoGPUError, match=f"no GPU to measure: .*{why}"):
        on_gpu.card.card(lambda: driver)


def test_clocks_are_read_by_their_headings(on_gpu: Any) -> None:
    output = "driver_version, clocks.current.sm [MHz]\n580.1, 1980 MHz\n580.1, 345 MHz\n"
    assert on_gpu.card.parsed_clocks(output) == {"driver_version": "580.1", "clocks.current.sm [MHz]": "1980 MHz"}
    assert on_gpu.card.parsed_clocks("nvidia-smi: No such file") == {"output": "nvidia-smi: No such file"}


@pytest.fixture
def whole_run(on_gpu: Any, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command with processes that are not started: the group sums leaves `lines`, the others nothing."""
    monkeypatch.setattr(on_gpu.checks, "versions", lambda: dict(TOOLS))
    monkeypatch.setattr(on_gpu.checks, "compiler", lambda: None)
    path = tmp_path / "run.json"

    def start(*options: str, lines: list[dict[str, Any]], pytest_output: str, takes_s: float = 1.0) -> Any:
        saved: list[dict[str, Any]] = []

        def answer(command: Sequence[str]) -> tuple[int, str]:
            if path.exists():
                saved.append(json.loads(path.read_text()))
            if "pytest" in command:
                return 0, pytest_output
            if "--group" in command and command[command.index("--group") + 1] == "sums":
                text = "\n".join(json.dumps(line) for line in lines)
                Path(command[command.index("--lines") + 1]).write_text(text)
            return 0, ""

        run, commands = runner(on_gpu, answer, clock, takes_s)
        printed: list[str] = []
        arguments = ["--json", str(path), *options]
        status = on_gpu.gpu.main(arguments, find_card=lambda: CARD, run=run, clock=clock, say=printed.append)
        return SimpleNamespace(
            status=status,
            record=json.loads(path.read_text()),
            commands=commands,
            printed="\n".join(printed),
            saved=saved,
        )

    return start


ONE_PASSED = "a.py::test_one PASSED [100%]"


def test_a_run_that_is_well(whole_run: Any, on_gpu: Any) -> None:
    run = whole_run(lines=held(), pytest_output=ONE_PASSED)
    assert run.status == 0, run.record["failures"]
    assert set(on_gpu.figures.empty_record()) <= set(run.record)
    assert run.record["schema"] == 1
    assert run.record["tests"]["passed"] == 1
    assert len(run.record["ratios"]) == 5
    assert run.record["measurements"][0]["seconds"] == [1e12 / 440e9] * 3
    names = [entry["name"] for entry in run.record["phases"]]
    assert names[:2] == ["build", "tests"]
    assert names[-2:] == ["memcheck", "racecheck"]
    assert {f"measure {group}" for group in on_gpu.gpu.GROUPS} <= set(names)
    assert "440.0 G/s" in run.printed
    assert "ok (floor 400 G/s)" in run.printed
    assert "1 passed, 0 failed, 0 skipped" in run.printed
    assert run.printed.endswith("all is well")


def test_the_file_is_there_after_each_part(whole_run: Any) -> None:
    run = whole_run(lines=held(), pytest_output=ONE_PASSED)
    during_tests = next(saved for saved in run.saved if saved["phases"][-1]["name"] == "tests")
    assert [entry["status"] for entry in during_tests["phases"]] == ["done", "started"]
    assert during_tests["status"] is None
    after_sums = next(saved for saved in run.saved if saved["measurements"])
    assert after_sums["tests"]["passed"] == 1


def test_a_missed_floor_and_a_failed_test_make_status_1(whole_run: Any) -> None:
    run = whole_run("--skip-build", lines=held(normal=100e9), pytest_output=f"{ONE_PASSED}\na.py::test_two FAILED\n")
    assert run.status == run.record["status"] == 1
    assert [failure.partition(":")[0] for failure in run.record["failures"]] == ["test failed", "floor missed"]
    assert "MISSED (floor 400 G/s)" in run.printed
    assert "NOT WELL: test failed: a.py::test_two" in run.printed
    assert not any("pip" in command for command, _ in run.commands)


def test_each_route_is_asked_for_by_its_process(whole_run: Any, on_gpu: Any) -> None:
    run = whole_run("--quick", lines=held(), pytest_output=ONE_PASSED)
    asked = {
        command[command.index("--group") + 1]: environment.get(on_gpu.gpu.ROUTE)
        for command, environment in run.commands
        if "--group" in command
    }
    assert asked["extension"] == "extension"
    assert asked["nvrtc"] == "nvrtc"
    assert asked["sums"] is None
    assert all("--quick" in command for command, _ in run.commands if "--lines" in command)


def test_a_slow_machine_is_told_what_was_left_out(whole_run: Any) -> None:
    run = whole_run("--quick", lines=held(), pytest_output=ONE_PASSED, takes_s=60.0)
    statuses = [entry["status"] for entry in run.record["phases"]]
    assert statuses[-1] == "no time left"
    assert sum(entry["seconds"] for entry in run.record["phases"]) <= 240 + 120


def test_the_whole_of_it_fits_into_its_time(on_gpu: Any) -> None:
    """Each part's budget is a bound; together they may be more than the total, which bounds them all."""
    assert on_gpu.gpu.TOTAL_S <= 9 * 60
    assert max(on_gpu.gpu.GROUPS.values()) <= 60


def test_a_directory_that_is_missing_is_named_first(on_gpu: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        on_gpu.gpu.main(["--json", "no/such/run.json"], find_card=lambda: CARD)
    assert "no/such is not a directory" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no CUDA toolkit")
def test_the_approximate_kernel_compiles(tmp_path: Path) -> None:
    source = BENCHMARKS / "on_gpu" / "fast_sum.cu"
    includes = [f"-I{ROOT / folder}" for folder in ("csrc/include", "csrc")]
    flags = ["-std=c++17", "--use_fast_math", "-DFAST_SEED=1", "-arch=sm_90", "-cubin", "-o", str(tmp_path / "made")]
    done = subprocess.run(["nvcc", *flags, *includes, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
