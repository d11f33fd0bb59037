"""What a release needs: one version everywhere, a changelog, a workflow of make targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import release_check

import wsss_nonsalient

from .doc_blocks import ROOT


def text_of(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def test_one_version_everywhere() -> None:
    version = wsss_nonsalient.__version__
    first, *_ = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text_of("CHANGELOG.md"), re.M)
    assert first == version
    assert f"\nversion: {version}\n" in text_of("CITATION.cff")


def test_workflow_calls_targets_of_the_makefile_and_nothing_else() -> None:
    workflow = text_of(".github/workflows/ci.yml")
    commands = re.findall(r"run: (.*)", workflow)
    assert len(commands) == len(re.findall(r"\brun:", workflow))
    targets = [re.fullmatch(r"make ([a-z-]+)", command) for command in commands]
    assert all(targets)
    assert {t[1] for t in targets if t} == {"lint", "test", "docs", "release-check"}
    for target in targets:
        assert target
        assert re.search(rf"^{target[1]}:", text_of("Makefile"), re.M), target[1]


def test_workflow_tests_the_python_versions_that_are_promised() -> None:
    promised = re.findall(r'Python :: (3\.\d+)"', text_of("pyproject.toml"))
    (tested, _) = re.findall(r"python: \[(.*)\]", text_of(".github/workflows/ci.yml"))
    assert re.findall(r"3\.\d+", tested) == promised
    assert f'requires-python = ">={promised[0]}"' in text_of("pyproject.toml")


def files_of_wheel() -> set[str]:
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "wsss_nonsalient").rglob("*.py")}
    info = "wsss_nonsalient-9.9.9.dist-info"
    return modules | {"wsss_nonsalient/py.typed", f"{info}/METADATA", f"{info}/licenses/LICENSE"}


def test_a_right_wheel_passes() -> None:
    release_check.check_wheel(files_of_wheel())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tests/test_pom.py"}, "does not belong there: tests/test_pom.py"),
        ({"wsss_nonsalient/weights.npz"}, "does not belong there: wsss_nonsalient/weights.npz"),
        ({"wsss_nonsalient/py.typed"}, "missing: wsss_nonsalient/py.typed"),
        ({"wsss_nonsalient/io/_png.py"}, "missing: wsss_nonsalient/io/_png.py"),
        ({"wsss_nonsalient-9.9.9.dist-info/licenses/LICENSE"}, "missing: LICENSE"),
    ],
)
def test_a_wrong_wheel_is_found(change: set[str], message: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(message)):
        release_check.check_wheel(files_of_wheel() ^ change)


def test_a_wrong_sdist_is_found() -> None:
    right = {*release_check.SDIST_NEEDS, "docs/_static/steps.png", "tests/data/glore_1d.npz"}
    release_check.check_sdist(right)
    for name in ("docs/_build/html/index.html", "tests/photo.jpg", "runs/a/b.json", "w.pth"):
        with pytest.raises(SystemExit, match=re.escape(f"does not belong there: {name}")):
            release_check.check_sdist({*right, name})
    with pytest.raises(SystemExit, match="missing: LICENSE"):
        release_check.check_sdist(right - {"LICENSE"})


def test_the_release_runs_the_readmes_first_example() -> None:
    names: dict[str, object] = {}
    exec(release_check.ten_lines(), names)
    assert "second" in names


def test_issue_forms_are_yaml_with_what_the_host_needs() -> None:
    yaml = pytest.importorskip("yaml")
    folder = Path(ROOT / ".github" / "ISSUE_TEMPLATE")
    forms = [path for path in folder.glob("*.yml") if path.name != "config.yml"]
    assert len(forms) == 3
    for path in forms:
        form = yaml.safe_load(path.read_text("utf-8"))
        assert {"name", "description", "body"} <= set(form)
        ids = [item["id"] for item in form["body"]]
        assert len(ids) == len(set(ids))
        assert all(item["attributes"]["label"] for item in form["body"])
