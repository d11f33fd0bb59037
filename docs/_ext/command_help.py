"""The directive ``command-help``: what ``wsss-nonsalient COMMAND --help`` prints."""

from __future__ import annotations

import contextlib
import io

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from wsss_nonsalient.cli import main


class CommandHelp(Directive):
    """A literal block with the help of a command, or of the console script itself."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Ask the command."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main([*self.arguments, "--help"])
        text = printed.getvalue()
        if not text.startswith("usage:"):
            raise self.error(f"no help for {' '.join(self.arguments)}")
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
