"""Reads files that may not be there yet, from disks and object stores."""

from pathlib import Path
from urllib.parse import urlsplit

from tuner.errors import Unreadable
from tuner.files.urls import UrlPath


def bytes_of(file: Path | UrlPath) -> bytes | None:
    """Returns what a file holds, None where there is none. Raises Unreadable when its place does not answer."""
    try:
        with file.open("rb") as opened:
            return opened.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = str(error).strip().partition("\n")[0]
        raise Unreadable(f"the trials' files cannot be read: {_place(file)}: {reason}") from error


def text_of(file: Path | UrlPath) -> str | None:
    """Returns a file's text, None where there is none. Raises Unreadable when its place does not answer."""
    content = bytes_of(file)
    return None if content is None else content.decode()


def _place(file: Path | UrlPath) -> str:
    """Returns a file's path or URL, without what a URL may hold of a log-in."""
    address = urlsplit(str(file))
    return f"{address.scheme}://{address.hostname or ''}{address.path}" if address.scheme else str(file)
