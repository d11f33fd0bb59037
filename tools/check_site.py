"""Check the built site: links, public names, what search finds, and that nothing is fetched.

``python tools/check_site.py docs/_build/html``; `make docs` runs it after the build.
"""

from __future__ import annotations

import importlib
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

PACKAGE = "wsss_nonsalient"
MODULES = (PACKAGE, f"{PACKAGE}.io", f"{PACKAGE}.plot")
SEARCHED = ("pom", "显著", "ignore_index")  # English, Chinese, a name
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """Anchors of a page, links of a reader, and what a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect ids and addresses."""
        found = {name: value for name, value in attrs if value is not None}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload"):
            self.fetched.append(found.get("href", ""))
        elif tag in FETCHED and FETCHED[tag] in found:
            self.fetched.append(found[FETCHED[tag]])


def broken_addresses(site: Path) -> Iterator[str]:
    """What leads nowhere, and what would be fetched from another host."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        where = path.relative_to(site)
        for address in page.fetched:
            if urlsplit(address).scheme in ("http", "https") or address.startswith("//"):
                yield f"{where}: would fetch {address}"
        for address in [*page.links, *page.fetched]:
            if urlsplit(address).scheme or address.startswith("//"):
                continue
            file, anchor = urldefrag(address)
            target = (path.parent / unquote(urlsplit(file).path)).resolve() if file else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield f"{where}: no file for {address}"
            elif anchor and target in pages and unquote(anchor) not in pages[target].anchors:
                yield f"{where}: no anchor for {address}"


def inventory(path: Path) -> set[str]:
    """Names of Python objects in Sphinx's ``objects.inv``."""
    data = path.read_bytes()
    body = zlib.decompress(data.split(b"\n", 4)[4]).decode()
    return {line.split(" ", 1)[0] for line in body.splitlines() if " py:" in line}


def found_by_search(path: Path) -> set[str]:
    """Words that Sphinx's ``searchindex.js`` knows."""
    text = path.read_text(encoding="utf-8")
    index = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return {*index["terms"], *index["titleterms"]}


def public_names() -> list[str]:
    """Every public name, with its module."""
    return [f"{m}.{name}" for m in MODULES for name in importlib.import_module(m).__all__]


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is wrong; returns how many faults there are, at most 1."""
    (site,) = map(Path, sys.argv[1:] if argv is None else argv)
    site = site.resolve()
    documented = inventory(site / "objects.inv")
    faults = [f"not documented: {name}" for name in public_names() if name not in documented]
    words = found_by_search(site / "searchindex.js")
    faults += [f"search does not find {word}" for word in SEARCHED if word not in words]
    faults += broken_addresses(site)
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"{len(list(site.rglob('*.html')))} pages, {len(documented)} names, {len(faults)} faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
