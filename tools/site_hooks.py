"""What mkdocs.yml needs besides plugins: files of the repository that pages link to; is the reference complete?

A page in docs/ may link to a file of the repository outside of docs/, as a forge has it: `[...](../examples/x.toml)`.
The site shows such a file as a page of its own below `repository/`; figures and data are copied as they are.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import posixpath
import re
import zlib
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
FOLDER = "repository"
LOG = logging.getLogger("mkdocs.hooks.site")  # warnings below mkdocs count as such for --strict

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s:]+)(#[^)\s]*)?\)")
_LANGUAGES = {".toml": "toml", ".py": "python", ".sbatch": "bash", ".service": "ini", ".env": "ini"}
_PROJECT = ("CONTRIBUTING.md", "CHANGELOG.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what pages link to outside of docs/, and the pages of the project itself."""
    wanted = {ROOT / name for name in _PROJECT}
    for file in list(files.documentation_pages()):
        for target in _outside(file.content_string, file.src_uri):
            wanted.add(target)
    for path in sorted(wanted):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".json":
            files.append(File.generated(config, f"{FOLDER}/{name}", content=path.read_bytes()))
        else:
            files.append(File.generated(config, _shown_at(path), content=_as_page(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links that lead out of docs/ lead to the pages made of their targets."""
    source = page.file.src_uri
    if source.startswith(f"{FOLDER}/"):
        inside = source.removeprefix(f"{FOLDER}/")
        return _LINK.sub(lambda link: _relinked(link, ROOT / inside, source), markdown)
    return _LINK.sub(lambda link: _relinked(link, ROOT / "docs" / source, source), markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Warns of public names that no page of the API has."""
    have = _inventory(Path(config.site_dir) / "objects.inv")
    for name in public_names():
        if not {name, f"{name}.{name.rpartition('.')[2]}"} & have:  # the second where a module has the function's name
            LOG.warning("docs/api has no entry for %s: name it, or its module, there with ':::'.", name)


def public_names() -> list[str]:
    """All that is in `__all__` of fastes and of its modules, with the module's name before it."""
    fastes = importlib.import_module("fastes")
    names = []
    for name in fastes.__all__:
        if importlib.util.find_spec(f"fastes.{name}") is None:
            names.append(f"fastes.{name}")
        else:
            inner = getattr(importlib.import_module(f"fastes.{name}"), "__all__", [])
            names += [f"fastes.{name}.{each}" for each in inner]
    return names


def _relinked(link: re.Match[str], at: Path, source: str) -> str:
    text, target, anchor = link[1], link[2], link[3] or ""
    path = (at.parent / target).resolve()
    if not path.exists() or not path.is_relative_to(ROOT):
        return link[0]
    if path.is_relative_to(ROOT / "docs"):
        shown = path.relative_to(ROOT / "docs").as_posix()
    elif path.suffix == ".json":
        shown = f"{FOLDER}/{path.relative_to(ROOT).as_posix()}"
    else:
        shown = _shown_at(path)
    return f"[{text}]({posixpath.relpath(shown, posixpath.dirname(source) or '.')}{anchor})"


def _outside(markdown: str, source: str) -> list[Path]:
    """The files and folders outside of docs/ to which a page links."""
    targets = [((ROOT / "docs" / source).parent / link[2]).resolve() for link in _LINK.finditer(markdown)]
    inside = [path for path in targets if path.is_relative_to(ROOT) and not path.is_relative_to(ROOT / "docs")]
    return [path for path in inside if path.exists()]


def _shown_at(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    return f"{FOLDER}/{name}" if path.suffix == ".md" else f"{FOLDER}/{name}.md"


def _as_page(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT).as_posix()
    inner = sorted(path.iterdir()) if path.is_dir() else [path]
    blocks = [_block(file, heading=path.is_dir()) for file in inner if file.is_file()]
    return f"# {name}\n\n" + "\n".join(blocks)


def _block(path: Path, *, heading: bool) -> str:
    text = path.read_text(encoding="utf-8").rstrip("\n")
    above = f"## {path.name}\n\n" if heading else ""
    return f"{above}````{_LANGUAGES.get(path.suffix, '')}\n{text}\n````\n"


def _inventory(path: Path) -> set[str]:
    """The names in a Sphinx inventory: four lines of header, then compressed ones that begin with a name."""
    stream = io.BytesIO(path.read_bytes())
    for _ in range(4):
        stream.readline()
    return {line.split()[0] for line in zlib.decompress(stream.read()).decode().splitlines() if line}


def on_config(config: MkDocsConfig, **_: Any) -> MkDocsConfig:
    """Links are looked at in the repository's own files as well."""
    config.watch += [str(ROOT / name) for name in (*_PROJECT, "src")]
    return config
