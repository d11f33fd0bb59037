"""The console script ``wsss-nonsalient``: the method's label steps over folders of files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from . import convert, inspect, labels, mask, score
from ._task import WorkersLostError, in_words
from ._types import HelpFormatter, Parser

__all__ = ["main"]

_DESCRIPTION = """\
Pseudo labels for weakly supervised semantic segmentation, over folders of files.

Works on the class activation maps (CAM) that your codebase dumps and writes the label PNGs
that your segmentation code reads. In the order of the method:

  wsss-nonsalient inspect cams/ saliency/ train_cls.txt     what is there, what is missing
  wsss-nonsalient labels  --cams cams --saliency saliency --image-labels train_cls.txt --out labels
  (train a segmentation network on labels/, write its predictions as PNG)
  wsss-nonsalient mask    --predictions predictions --pseudo-labels labels \\
                          --image-labels train_cls.txt --saliency saliency --out labels2
  wsss-nonsalient score   --predictions labels2 --targets SegmentationClassAug --num-classes 21
"""

_EPILOG = """\
Label maps are PNGs: 0 is the background, c + 1 is class c (c counts from 0), 255 is ignored.

exit codes: 0 all is well; 1 an image failed (the others are done, failures are listed at the end)
or the workers were lost; 2 bad use, nothing was done.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: ``sys.argv``); returns the exit code."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:  # ids may have letters that a terminal does not
        reconfigure(errors="backslashreplace")
    args = _parser().parse_args(argv)
    try:
        run = args.prepare(args)
    except (ImportError, OSError, ValueError) as error:  # found before anything was done
        return _failed(args, in_words(error), 2)
    try:
        code: int = run()
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except WorkersLostError as error:
        return _failed(args, f"{error}; run the same command again to go on", 1)
    except BrokenPipeError:  # the reader of a pipe had enough
        return 1
    except OSError as error:  # no image's: --out cannot be made, the disk is full
        return _failed(args, in_words(error), 2)
    return code


def _failed(args: argparse.Namespace, error: str, code: int) -> int:
    print(f"{args.parser.prog}: error: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="wsss-nonsalient",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (labels, mask, score, convert, inspect):
        command.add_parser(commands)
    return parser
