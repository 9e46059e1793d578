"""`fastes report`: what the page says, and how a browser shows it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import browser
import pytest
from run_folders import fastes, trained, written

from fastes import cli

CARTPOLE = {"kind": "gym", "env": "CartPole-v1", "max_steps": 60, "function": None, "dim": None, "start": None}
EVIL = "</style><script>alert(1)</script><b onload='x'>&amp;"


class Parsed(HTMLParser):
    """Identifiers, what they are referred to by, tags, and the text of a page. Raises nothing: browsers do not."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.identifiers: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.identifiers += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one.html, of a run in an environment, and several.html, of seeds and a run whose names are odd."""
    folder = tmp_path_factory.mktemp("reports")
    trained(folder / "cart pole", problem=CARTPOLE, policy={"kind": "mlp", "hidden": [4]}, algorithm={"sigma": 1.0})
    done = fastes("report", "cart pole", "--out", "one.html", "--episodes", 6, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "one.html\n", "")
    columns = {"fitness/mean": [1.0, 2.0], "sigma": [0.1, 0.2], "update/norm": [1.0, 2.0], "<script>": [1.0, 2.0]}
    for seed in (1, 2):
        written(
            folder / "grid" / f"seed-{seed}",
            columns | {"evaluation/mean": [None, float(seed)]},
            config={"seed": seed},
            fitness=[[1.0, 2.0], [3.0, 4.0]],
            result={"status": "finished", "digest": f"{seed:032x}", "evaluation_mean": seed, "evaluation_std": 1e-16}
            | {"evaluation_episodes": 20},
        )
    odd = {"problem": {"function": EVIL}}
    written(folder / "grid" / "odd", columns, config=odd, result={"status": "failed", "error": EVIL})
    assert cli.main(["report", str(folder / "grid"), "--out", str(folder / "several.html")]) == 0
    return folder


def test_a_run(pages: Path) -> None:
    text = (pages / "one.html").read_text()
    result = json.loads((pages / "cart pole" / "result.json").read_text())
    parsed = Parsed(text)
    for part in (
        "CartPole-v1 · openai_es",
        "finished after 5 of 5 generations · seed 1 · cart pole",
        f"digest {result['digest']}",
        f"ends with digest {result['digest']}",
        f"{result['steps']:,}",
        "in 6 fresh episodes: mean",
        "fastes train run.toml",
        'env = "CartPole-v1"',
        "max_steps60",
        "Where theta went",
        "fitness (mean, from worst to best member) against generations. cart pole: from",
    ):
        assert part in parsed.text, part
    assert parsed.tags.count("svg") == 8  # six panels, the returns, the landscape


def test_the_same_returns_as_evaluate(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(pages / "cart pole"), "--episodes", "6"]) == 0
    mean = re.search(r"6 episodes: mean (\S+)", capsys.readouterr().out)
    assert mean is not None
    assert f"in 6 fresh episodes: mean {mean[1]}," in (pages / "one.html").read_text()


def test_several_runs(pages: Path) -> None:
    parsed = Parsed((pages / "several.html").read_text())
    for part in ("3 runs", "function sphere (2 seeds)21.51 to 21.51 to 2", "problem.function", "1 ± 0", f"{2:032x}"):
        assert part in parsed.text, part
    assert "failed" in parsed.text
    assert EVIL in parsed.text


@pytest.mark.parametrize("name", ["one.html", "several.html"])
def test_it_needs_nothing_else_and_identifiers_are_unique(pages: Path, name: str) -> None:
    text = (pages / name).read_text()
    parsed = Parsed(text)
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(parsed.tags)
    assert "<b onload" not in text
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert len(parsed.identifiers) == len(set(parsed.identifiers)) > 100
    referred = set(re.findall(r'(?:href="#|url\(#|aria-labelledby=")([^")]+)', text))
    assert referred <= set(parsed.identifiers)
    assert not re.search(r"(fill|stroke): #(262626|e4e4e4|ffffff)", text)


def test_a_run_without_an_end(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In its own directory by default; without a landscape where there is no journal, unless one is asked for."""
    written(in_directory / "run", {"fitness/mean": [1.0]}, config={"policy": {"kind": "python: a.b:C"}})
    assert cli.main(["report", "run"]) == 0
    told = capsys.readouterr()
    assert told.out == "run/report.html\n"
    assert told.err == "fastes: without a landscape: run has no journal from which theta could be made again.\n"
    text = Path("run/report.html").read_text()
    assert "unfinished" in text
    assert "made in Python, from an object that no file can name" in text
    assert "Where theta went" not in text
    assert cli.main(["report", "run", "--landscape"]) == 2
    assert "has no journal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no directory: name one that `fastes train` wrote, or a folder of such."),
        (["a", "b", "--episodes", "3"], "--episodes and --landscape are for one run, not for the 2 that were named."),
        (["a", "--episodes", "-3"], "--episodes must not be negative, not -3."),
        (["a", "--episodes", "3"], "a holds no readable policy.json"),
        (["a", "--no-landscape", "--out", "a/metrics.csv/x.html"], "a/metrics.csv/x.html cannot be written: Not a dir"),
    ],
)
def test_errors_are_a_line(
    arguments: list[str], message: str, in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        written(in_directory / name, {"sigma": [0.1]})
    assert cli.main(["report", *arguments]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith(f"fastes: {message}")


# --- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    if browser.chromium() is None:
        required = os.environ.get("FASTES_REQUIRE_BROWSER") == "1"
        (pytest.fail if required else pytest.skip)(
            "chromium is not installed; on Debian: sudo apt-get install chromium"
        )
    with browser.page(tmp_path_factory.mktemp("browser")) as page:
        yield page


PICTURES = """Promise.all([...document.querySelectorAll('svg image')].map(async (shown) => {
    const image = new Image();
    image.src = shown.href.baseVal;
    await image.decode();
    return image.naturalWidth;
}))"""
CONTRASTS = """(() => {
    const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const light = (colour) => {
        const [r, g, b] = colour.match(/[0-9.]+/g).map(Number);
        return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    };
    const ground = (shown) => {
        for (; shown; shown = shown.parentElement) {
            const colour = getComputedStyle(shown).backgroundColor;
            if (!colour.startsWith('rgba(0, 0, 0, 0')) return colour;
        }
    };
    const found = [...document.querySelectorAll('h1,h2,p,td,th,dt,dd,summary,pre,.status,text')].map((shown) => {
        const style = getComputedStyle(shown);
        const ink = shown.tagName === 'text' ? style.fill : style.color;
        const [a, b] = [light(ink), light(ground(shown))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
    return [found.length, Math.min(...found)];
})()"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["one.html", "several.html"])
def test_a_browser_shows_it(pages: Path, tab: browser.Page, name: str, width: int, dark: bool) -> None:
    """Without a word on its console or a request to anyone, nothing wider than the window, all pictures there, text
    that can be read on what is behind it.
    """
    tab.open(pages / name, width=width, dark=dark)
    pictures = tab.value(PICTURES)
    assert len(pictures) == (2 if name == "one.html" else 0)
    assert all(natural > 10 for natural in pictures)
    sizes = tab.value("[...document.querySelectorAll('svg')].map((s) => s.getBoundingClientRect().toJSON())")
    assert len(sizes) == (8 if name == "one.html" else 6)
    for size in sizes:
        assert 300 <= size["width"] <= width - size["left"]
        assert size["height"] > 150
    assert tab.value("document.documentElement.scrollWidth") == width
    texts, contrast = tab.value(CONTRASTS)
    assert texts > 100
    assert contrast >= 4.5
    background = tab.value("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(22, 24, 28)" if dark else "rgb(255, 255, 255)")
    assert tab.screenshot()[:8] == b"\x89PNG\r\n\x1a\n"
    requests = [request["request"]["url"] for request in tab.named("Network.requestWillBeSent")]
    assert [url for url in requests if not url.startswith("data:image/png;")] == [(pages / name).as_uri()]
    for kind in (
        "Runtime.consoleAPICalled",
        "Runtime.exceptionThrown",
        "Log.entryAdded",
        "Page.javascriptDialogOpening",
    ):
        assert tab.named(kind) == []
