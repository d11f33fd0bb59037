"""Check a release before it is uploaded: build it, look into it, use it from outside.

``python tools/release_check.py`` builds sdist and wheel into ``dist``, checks their metadata and
contents, installs the wheel into an empty environment in another folder, and runs there the
README's example, the console script, and mypy on a user's file. `make release-check` runs it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SDIST_NEEDS = ("README.md", "README.zh-CN.md", "LICENSE", "CHANGELOG.md", "docs/conf.py")

# What a user writes; mypy must know the types without any setting of ours.
USER_FILE = """\
import torch
from torch import Tensor
from wsss_nonsalient import GloRe, OACAMAccumulator, SegmentationScore, nsrm_mask, pom_refine

labels: Tensor = pom_refine(torch.zeros(2, 2).long(), torch.zeros(1, 2, 2), torch.ones(1))
unit: GloRe = GloRe(8, num_nodes=2)
mean_iou: float = SegmentationScore(21).compute().mean_iou
keys: list[str] = list(OACAMAccumulator(20))
nsrm_mask(labels, labels, torch.ones(1), kernel_size="30")  # type: ignore[arg-type]
pom_refine(labels, labels, labels, quartile="lower")  # type: ignore[arg-type]
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run all checks; the first that fails ends it."""
    parser = argparse.ArgumentParser(description="Check a release before it is uploaded.")
    parser.add_argument(
        "--packages",
        type=Path,
        metavar="DIR",
        help="take the dependencies from this site-packages folder instead of downloading them",
    )
    args = parser.parse_args(argv)
    sdist, wheel = build(ROOT / "dist")
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    check_wheel(names_of_wheel(wheel))
    check_sdist(names_of_sdist(sdist))
    with tempfile.TemporaryDirectory() as folder:
        use_from_outside(wheel, Path(folder), args.packages)
    print(f"release-check: {wheel.name} and {sdist.name} are fine")


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command outside of this repository's settings; its output, or the end of everything."""
    plain = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=plain, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it."""
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def names_of_wheel(wheel: Path) -> set[str]:
    """Its files."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def names_of_sdist(sdist: Path) -> set[str]:
    """Its files, without the folder that they are in."""
    with tarfile.open(sdist) as archive:
        return {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}


def check_wheel(names: set[str]) -> None:
    """The package's modules and its licence are in it, and nothing else."""
    modules = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "wsss_nonsalient").rglob("*.py")
    }
    needed = modules | {"wsss_nonsalient/py.typed"}
    metadata = {name for name in names if re.match(r"wsss_nonsalient-[^/]+\.dist-info/", name)}
    problems = [f"missing: {name}" for name in sorted(needed - names)]
    problems += [f"does not belong there: {name}" for name in sorted(names - needed - metadata)]
    if not any(name.endswith("/LICENSE") for name in metadata):
        problems.append("missing: LICENSE")
    if problems:
        raise SystemExit("wheel: " + "\n".join(problems))


def check_sdist(names: set[str]) -> None:
    """Everything to build, test and read is in it; no data set, weights or built pages are."""
    problems = [f"missing: {name}" for name in SDIST_NEEDS if name not in names]
    unwanted = re.compile(
        r"\.(jpe?g|pth|pt|safetensors|whl|pyc)$|^runs/|^docs/(_build|gallery|reference/generated)/"
    )
    problems += [
        f"does not belong there: {name}" for name in sorted(filter(unwanted.search, names))
    ]
    if problems:
        raise SystemExit("sdist: " + "\n".join(problems))


def ten_lines() -> str:
    """The README's first example."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    if found is None:
        raise SystemExit("README.md: expected a python block, got none")
    return found[1]


def use_from_outside(wheel: Path, folder: Path, packages: Path | None) -> None:
    """Install the wheel where nothing of this repository is seen, and use it as its users do."""
    python = folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    venv.create(folder / "env", with_pip=True)
    offline: tuple[str, ...] = ()
    if packages is not None:
        (site,) = (folder / "env").glob("[Ll]ib/**/site-packages")
        (site / "given.pth").write_text(f"{packages.resolve()}\n")
        offline = ("--no-deps", "--ignore-installed")
    run(python, "-m", "pip", "install", "--quiet", *offline, wheel, cwd=folder)

    where = run(python, "-c", "import wsss_nonsalient as w; print(w.__file__)", cwd=folder).strip()
    if not Path(where).is_relative_to(folder):
        raise SystemExit(f"expected the installed wheel, got {where}")
    (folder / "ten_lines.py").write_text(ten_lines() + "print(second.unique().tolist())\n")
    labels = run(python, "ten_lines.py", cwd=folder).strip()
    if labels != "[0, 1, 2, 255]":
        raise SystemExit(f"the README's example: expected all labels, got {labels}")
    version = wheel.name.split("-")[1]
    printed = run(python, "-m", "wsss_nonsalient", "--version", cwd=folder).strip()
    if printed != f"wsss-nonsalient {version}":
        raise SystemExit(f"--version: expected {version}, got {printed}")
    (folder / "user.py").write_text(USER_FILE)
    options = ("--strict", "--python-executable", python)
    run(sys.executable, "-m", "mypy", *options, "user.py", cwd=folder)


if __name__ == "__main__":
    main()
