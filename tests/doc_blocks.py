"""Run the code blocks of a Markdown page in their order, as a reader would."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wsss_nonsalient.cli import main as console_script

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """The page's blocks of a language."""
    return [code for kind, code in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def run_page(page: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a page's blocks in the current folder; returns the names that its Python defines."""
    names: dict[str, Any] = {}
    for kind, code in BLOCK.findall(page.read_text("utf-8")):
        if kind == "python":
            exec(compile(code, str(page), "exec"), names)
        else:
            for line in code.replace("\\\n", " ").splitlines():
                if line.strip():
                    run_command(line, monkeypatch)
    return names


def run_command(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a line of a shell block, or check it where it would install something or take long."""
    words = shlex.split(line, comments=True)
    for prefix, action in ACTIONS.items():
        if words[: len(prefix)] == list(prefix):
            action(words[len(prefix) :], monkeypatch)
            return
    raise AssertionError(f"no way to check: {line}")


def _make(targets: list[str], _: pytest.MonkeyPatch) -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    for target in targets:
        assert re.search(rf"^{re.escape(target)}:", text, re.MULTILINE), f"make {target}"


def _install(words: list[str], _: pytest.MonkeyPatch) -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (what,) = words
    found = re.fullmatch(r"\.(?:\[([a-z,]+)\])?", what)
    assert found, what
    for extra in (found[1] or "").split(",") if found[1] else []:
        assert re.search(rf"^{extra} = \[", text, re.MULTILINE), f"no extra {extra}"


def _environment(words: list[str], _: pytest.MonkeyPatch) -> None:
    assert words == ["env", "&&", ".", "env/bin/activate"]


def _cd(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (folder,) = words
    monkeypatch.chdir(folder)


def _console_script(words: list[str], _: pytest.MonkeyPatch) -> None:
    try:
        code = console_script(words)
    except SystemExit as end:  # --version, --help, bad use
        code = int(end.code or 0)
    assert code == 0, words


def _pipeline(words: list[str], _: pytest.MonkeyPatch) -> None:
    """Parsed, not run: it takes minutes, and tests/test_voc_run.py runs it."""
    import run

    parser = run.build_parser(None)
    parser.add_argument("--seed", type=int, default=0)
    parser.parse_args(words)


def _plug_in(name: str) -> Callable[[list[str], pytest.MonkeyPatch], None]:
    def action(words: list[str], _: pytest.MonkeyPatch) -> None:
        path = ROOT / "examples" / "plug_in" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        before = list(sys.path)
        spec.loader.exec_module(module)
        sys.path[:] = before
        module.main(words)

    return action


ACTIONS: dict[tuple[str, ...], Callable[[list[str], pytest.MonkeyPatch], None]] = {
    ("make",): _make,
    ("pip", "install"): _install,
    ("cd",): _cd,
    ("wsss-nonsalient",): _console_script,
    ("python", "-m", "wsss_nonsalient"): _console_script,
    ("python", "-m", "venv"): _environment,
    ("python", "examples/voc/run.py"): _pipeline,
    ("python", "examples/plug_in/pom_nsrm_on_irn_folder.py"): _plug_in("pom_nsrm_on_irn_folder"),
}
