"""``wsss-nonsalient inspect``: what is in a file or folder, and which ids lack what."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import options
from ._findings import Finding, look_at
from ._inputs import some
from ._task import in_words
from ._types import existing

_DESCRIPTION = """\
Say what files and folders are: CAM dumps and their format, label maps, saliency maps, image-level
labels, lists of ids; how many, how large, with which values and classes.

Of several paths, also say which ids lack what: the ids of the first list or file of image-level
labels among them, or, without one, those of all paths together.
"""

_EPILOG = """\
Of a folder, --samples files are read, evenly over the sorted ids; to check every file, run the
command that needs them with --dry-run.

exit codes: 0; 1 if something is none of these, damaged, or could be two formats; 2 bad use.

example:
  wsss-nonsalient inspect train_cls.txt cams saliency SegmentationClassAug
"""


def add_parser(commands: options.Commands) -> None:
    """The command and its options."""
    parser = options.add_command(
        commands,
        "inspect",
        prepare,
        about="what is in a file or folder, which format, which ids lack what",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument("paths", type=existing, nargs="+", metavar="PATH", help="file or folder")
    text = "files of a folder to read (default: %(default)s)"
    options.add_integer(parser, "--samples", text, default=50)


def prepare(args: argparse.Namespace) -> Callable[[], int]:
    """Nothing to check but the options."""
    return functools.partial(_run, args.paths, args.samples)


def _run(paths: Sequence[Path], samples: int) -> int:
    findings: list[Finding] = []
    code = 0
    for path in paths:
        try:
            finding = look_at(path, samples)
        except Exception as error:  # go on with the other paths
            print(f"{path}\n  {in_words(error)}", file=sys.stderr)
            code = 1
            continue
        findings.append(finding)
        print("\n  ".join([f"{path}: {finding.kind}", *finding.lines]))
    compared = [finding for finding in findings if finding.ids is not None]
    if len(compared) > 1:
        _print_lacks(compared)
    return code


def _print_lacks(findings: Sequence[Finding]) -> None:
    reference = next((finding for finding in findings if finding.is_reference), None)
    wanted = set[str]().union(*(f.ids or () for f in ([reference] if reference else findings)))
    print(f"\nof {len(wanted):,} ids" + (f" in {reference.path}" if reference else ""))
    for finding in findings:
        lacking = sorted(wanted - set(finding.ids or ()))
        what = f"lacks {len(lacking):,}: {some(lacking)}" if lacking else "has all"
        print(f"  {finding.path} {what}")
