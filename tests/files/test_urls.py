"""Paths at URLs, in an object store over HTTP and in whatever fsspec has a driver for."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import clean_environment
from tests.object_store import ObjectStore
from tuner.errors import BadInput
from tuner.files.urls import UrlPath
from tuner.files.writing import check_writable, replacing

TWO_PARTS = 11 * 2**20
"""Bytes that pyarrow does not send to S3 in one request."""
PUT = """
import sys
from pathlib import Path
from tuner.files.urls import UrlPath
UrlPath(sys.argv[1]).put(Path(sys.argv[2]))
"""


@pytest.fixture(params=[pytest.param("s3", marks=pytest.mark.cluster), "memory", "file"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> UrlPath:
    if request.param == "s3":
        return UrlPath(request.getfixturevalue("url"))
    return UrlPath(f"fsspec+{request.param}://{tmp_path}")


def write(path: UrlPath, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text)


def test_a_file_is_there_read_replaced_and_removed_as_on_a_disk(folder: UrlPath) -> None:
    check_writable(folder)
    file = folder / "syn" / "0001" / "config.py"
    assert not file.exists()
    with pytest.raises(FileNotFoundError):
        file.read_text()
    file.unlink(missing_ok=True)
    for text in ("one", "another"):
        write(file, text)
        assert file.exists()
        assert file.read_text() == text
    file.unlink()
    assert not file.exists()
    with pytest.raises(FileNotFoundError):
        file.unlink()


def is_second_part(request: dict[str, Any]) -> bool:
    return "partNumber=2" in request["QUERY_STRING"]


def is_renaming(request: dict[str, Any]) -> bool:
    return "HTTP_X_AMZ_COPY_SOURCE" in request


@pytest.mark.parametrize(("breaks_off", "size"), [(is_second_part, TWO_PARTS), (is_renaming, 1)])
def test_an_upload_that_fails_half_way_leaves_what_was_there(
    object_store: ObjectStore, url: str, monkeypatch: pytest.MonkeyPatch, breaks_off: Any, size: int
) -> None:
    file = UrlPath(url) / "checkpoint.pth"
    write(file, "whole")
    monkeypatch.setattr(object_store, "refuses", breaks_off)
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        write(file, "x" * size)
    assert file.read_text() == "whole"
    assert object_store.names(url) == ["checkpoint.pth"]


def test_a_process_killed_while_it_uploads_leaves_what_was_there(
    object_store: ObjectStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def kills(request: dict[str, Any]) -> bool:
        if is_second_part(request):
            for uploader in started:
                uploader.kill()
        return False

    file, new = UrlPath(url) / "checkpoint.pth", tmp_path / "new"
    write(file, "whole")
    new.write_text("x" * TWO_PARTS)
    monkeypatch.setattr(object_store, "refuses", kills)
    command = [sys.executable, "-c", PUT, str(file), str(new)]
    with subprocess.Popen(command, env=clean_environment()) as uploader:
        started.append(uploader)
    assert uploader.returncode == -9
    assert file.read_text() == "whole"
    assert object_store.names(url) == ["checkpoint.pth"]


def test_a_path_is_found_again_by_its_text(url: str) -> None:
    file = UrlPath(url) / "syn" / "config.py"
    write(file, "lr = 1")
    assert UrlPath(str(file)).read_text() == "lr = 1"


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ("s3://{bucket}x/coc?{options}", "cannot be written to: Bucket 'lab.*x' not found"),
        ("s3://{bucket}/coc?{options}&acl=public", "cannot be opened: Unexpected query parameter in S3 URI"),
        ("ftps://lab/coc", "cannot be opened: Unrecognized filesystem type in URI"),
        ("fsspec+gcs://lab/coc", "cannot be opened: Please install gcsfs"),
        ("hdfs://localhost:1/coc", "cannot be opened: Unable to load libjvm"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_the_reason(url: str, root: str, reason: str) -> None:
    place, _, options = url.partition("?")
    with pytest.raises(BadInput, match=reason):
        check_writable(UrlPath(root.format(bucket=place.split("/")[2], options=options)))


def test_a_bucket_that_may_not_be_written_to_is_refused(
    object_store: ObjectStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "refuses", lambda request: request["REQUEST_METHOD"] != "GET")
    with pytest.raises(BadInput, match=r"cannot be written to: .*ACCESS_DENIED"):
        check_writable(UrlPath(url))
