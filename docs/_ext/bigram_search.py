"""Search in English and Chinese: Chinese, which has no spaces, goes in as pairs of characters.

The words of a page and those of a query are cut alike, so a query of any length is found.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx
from sphinx.search import languages
from sphinx.search.en import SearchEnglish

_RUNS = re.compile(r"[\u3400-\u9fff]+|[^\W\u3400-\u9fff]+")

_SPLIT_QUERY = r"""
var splitQuery = (query) => {
  const runs = query.match(/[\u3400-\u9fff]+|(?:(?![\u3400-\u9fff])[\p{Letter}\p{Number}_])+/gu);
  return (runs || []).flatMap((run) => {
    if (!/^[\u3400-\u9fff]/.test(run) || run.length < 2) return [run];
    return Array.from({ length: run.length - 1 }, (_, i) => run.slice(i, i + 2));
  });
};
"""


class SearchBigrams(SearchEnglish):
    """English words with their stems, and the bigrams of Chinese text."""

    lang = "bigrams"
    language_name = "English"  # whose stemmer the page takes
    js_splitter_code = _SPLIT_QUERY

    def split(self, text: str) -> list[str]:
        """Cut a page's text into what is looked up."""
        words: list[str] = []
        for run in _RUNS.findall(text):
            if "\u3400" <= run[0] <= "\u9fff" and len(run) > 1:
                words += [run[i : i + 2] for i in range(len(run) - 1)]
            else:
                words.append(run)
        return words

    def word_filter(self, word: str) -> bool:
        """Whether a word goes into the index."""
        return "\u3400" <= word[0] <= "\u9fff" or super().word_filter(word)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the language known as `bigrams`."""
    del app
    languages["bigrams"] = SearchBigrams
    return {"parallel_read_safe": True, "parallel_write_safe": True}
