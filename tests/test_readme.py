"""Every code block of both READMEs and of the site's pages runs, and they say the same."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from .doc_blocks import ROOT, blocks, run_command, run_page

READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
OTHERS = {"voc_pipeline.md", "results.md", "speed.md", "tutorial.md"}  # tested elsewhere, or built
PAGES = sorted(
    page
    for page in (ROOT / "docs").rglob("*.md")
    if "_build" not in page.parts
    and page.name not in OTHERS
    and (blocks(page, "python") or blocks(page, "sh"))
)
PAGES = [page for page in PAGES if page.parent.name in ("docs", "guides", "zh")]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return monkeypatch


@pytest.mark.parametrize("page", READMES, ids=name_of)
def test_readme_runs(page: Path, in_folder: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jsonargparse")
    names = run_page(page, in_folder)
    assert names["maps"].shape == (1, 20, 14, 14)
    for folder in ("round1", "round2"):
        paths = sorted(Path(folder).glob("*.png"))
        assert len(paths) == 4
        for path in paths:
            with Image.open(path) as image:
                assert (
                    {0, 255} < set(np.unique(np.array(image)).tolist()) <= {0, 1, 2, 3, 4, 5, 255}
                )


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_runs(page: Path, in_folder: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jsonargparse")
    pytest.importorskip("torchvision")
    run_page(page, in_folder)


def test_the_guides_python_gives_the_labels_of_its_commands(in_folder: pytest.MonkeyPatch) -> None:
    run_page(ROOT / "docs" / "guides" / "cam_dumps.md", in_folder)
    for path in sorted(Path("round1").glob("*.png")):
        assert path.read_bytes() == Path("round1_python", path.name).read_bytes()


def test_the_pages_that_must_run_are_among_them() -> None:
    names = {name_of(page) for page in PAGES}
    guides = (
        "glore",
        "transformers",
        "cam_dumps",
        "no_saliency",
        "accumulate_augmented",
        "round_two",
        "label_report",
        "boundaries",
        "own_data",
        "coco",
        "several_gpus",
        "coming_from",
    )
    assert names >= {
        "docs/start.md",
        "docs/zh/quickstart.md",
        *(f"docs/guides/{g}.md" for g in guides),
    }


def test_a_wrong_command_is_found(in_folder: pytest.MonkeyPatch) -> None:
    for line, message in {
        "make nothing": "make nothing",
        "pip install '.[nothing]'": "no extra nothing",
        "wsss-nonsalient inspect nowhere": "inspect",
        "rm -rf /": "no way to check",
    }.items():
        with pytest.raises(AssertionError, match=message):
            run_command(line, in_folder)


def without_comments(code: str) -> str:
    return re.sub(r" *#.*", "", code)


def test_ten_lines_are_ten_lines_and_the_same_everywhere() -> None:
    pages = [*READMES, ROOT / "docs" / "start.md", ROOT / "docs" / "zh" / "quickstart.md"]
    examples = {without_comments(blocks(page, "python")[0]) for page in pages}
    assert len(examples) == 1
    (example,) = examples
    body = [line for line in example.splitlines() if line and not re.match("import|from", line)]
    assert len(body) <= 10
    script = (ROOT / "examples" / "gallery" / "plot_00_ten_lines.py").read_text("utf-8")
    assert "\n".join(body) in without_comments(script)


def test_ten_lines_do_what_the_page_says() -> None:
    names: dict[str, torch.Tensor] = {}
    exec(blocks(ROOT / "README.md", "python")[0], names)
    initial, labels, second, small = (names[n] for n in ("initial", "labels", "second", "small"))
    hidden = small > 0.3
    assert (initial[hidden] == 0).float().mean() > 0.9, "most of the small object is background"
    assert (labels[hidden] == 255).float().mean() > (initial[hidden] == 255).float().mean() + 0.2
    assert set(labels[hidden].tolist()) == {0, 255}
    assert (second[hidden] == 2).all()
    assert second[-1, -1] == 255


def test_both_readmes_have_the_same_code_tables_and_links() -> None:
    english, chinese = (page.read_text("utf-8") for page in READMES)
    for language in ("python", "sh"):
        one, other = ([without_comments(b) for b in blocks(p, language)] for p in READMES)
        assert one == other
    figures = r"\d+\.\d ± \d\.\d|\d+\.\d / \d+\.\d / \d+\.\d"
    assert re.findall(figures, english) == re.findall(figures, chinese)
    links = [set(re.findall(r"\]\(([^)]+)\)", text)) for text in (english, chinese)]
    assert links[0] ^ links[1] == {"README.md", "README.zh-CN.md"}
    assert len(re.findall(r"^## ", english, re.M)) == len(re.findall(r"^## ", chinese, re.M))
    assert english.count("\n|") == chinese.count("\n|")


@pytest.mark.parametrize("page", [*READMES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in target and not target.endswith(("gallery/index.rst",)):
            assert (page.parent / target).is_file(), target


def test_the_ablation_in_the_readme_is_that_of_the_results() -> None:
    readme, results = ((ROOT / p).read_text("utf-8") for p in ("README.md", "docs/results.md"))
    for name in ("baseline", "+ unit", "+ POM", "+ NSRM"):
        (row,) = re.findall(rf"^\| {re.escape(name)} \|(.*)\|$", readme, re.M)
        rows = re.findall(rf"^\| {re.escape(name)} \|(.*)\|$", results, re.M)[:2]
        for value in re.findall(r"\d+\.\d", row):
            assert any(value in r for r in rows), (name, value)
