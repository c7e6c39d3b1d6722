"""Writes texts of any letters such that Markdown shows them as they are."""

import re
from html import escape

SHORTCODE = re.compile(r":(?=[a-z+-][\w+-]*:)")
"""The first colon of a word that MLflow's page, as GitHub, would turn into a picture: :warning:."""


def escaped(text: object) -> str:
    """Makes a text one line that no Markdown takes for markup."""
    flat = escape(" ".join(str(text).split()), quote=False)
    marked = "".join(f"\\{letter}" if letter in "\\`*_[]|#~!" else letter for letter in flat)
    return SHORTCODE.sub("&#58;", marked)


def coded(text: object) -> str:
    """Makes a text one line of code, whatever backticks are in it."""
    flat = " ".join(str(text).split())
    marks = _more_than(flat, 0)
    return f"{marks} {flat} {marks}" if "`" in flat else f"`{flat}`"


def fenced(text: str, language: str) -> str:
    """Makes a text a block of code that no line of it ends."""
    marks = _more_than(text, 2)
    return f"{marks}{language}\n{text.rstrip()}\n{marks}"


def _more_than(text: str, least: int) -> str:
    """Returns more backticks than anywhere stand in a row, and more than a given number."""
    return "`" * (1 + max([least, *map(len, re.findall("`+", text))]))
