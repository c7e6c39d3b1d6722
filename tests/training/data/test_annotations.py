"""An annotation that was looked at is read again only when its size or its time has changed."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tuner.training.data.annotations import Looked, SoundAnnotations

FIRST, SECOND = 1_000_000_000, 2_000_000_000
"""Times of change in nanoseconds."""


def write(file: Path, value: int, changed: int = FIRST) -> None:
    """Draws an annotation of 0 and a value; its file has the same size for any value from 1 to 9."""
    labels = np.zeros((8, 8), np.uint8)
    labels[2:5, 3:7] = value
    Image.fromarray(labels).save(file, compress_level=0)
    os.utime(file, ns=(changed, changed))


def looked(known: Path | None, *files: Path) -> list[set[int]]:
    annotations = SoundAnnotations(known)
    found = [set(each.values) for each in annotations.look(files)]
    annotations.keep()
    return found


@pytest.fixture
def known(tmp_path: Path) -> Path:
    return tmp_path / "home" / "annotations.json"


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "1", "I;16", "LA"])
def test_all_values_of_all_kinds_of_png_are_found(tmp_path: Path, mode: str) -> None:
    drawn = np.random.default_rng(0).integers(0, 200, (37, 41, 3)).astype(np.uint8)
    drawn[5:20, 5:20] = 7
    image = Image.fromarray(drawn if mode == "RGB" else drawn[..., 0])
    if mode == "I;16":
        image = Image.fromarray(drawn[..., 0].astype(np.uint16) * 300)
    image.convert(mode).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        assert read.mode == mode
        wanted = {int(value) for value in np.unique(np.asarray(read))}
    assert looked(None, tmp_path / "a.png") == [wanted]


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path, known: Path) -> None:
    file = tmp_path / "a.png"
    write(file, 1)
    assert looked(known, file) == [{0, 1}]
    write(file, 2)
    assert looked(known, file) == [{0, 1}], "its size and its time are those that were kept"
    write(file, 3, changed=SECOND)
    assert looked(known, file) == [{0, 3}]
    Image.fromarray(np.full((9, 9), 4, np.uint8)).save(file)
    os.utime(file, ns=(SECOND, SECOND))
    assert looked(known, file) == [{4}], "its size is another"


def test_files_of_one_name_in_two_folders_and_new_ones_are_told_apart(tmp_path: Path, known: Path) -> None:
    files = [tmp_path / folder / "a.png" for folder in ("training", "validation")]
    for value, file in enumerate(files, start=1):
        file.parent.mkdir()
        write(file, value)
    assert looked(known, files[0]) == [{0, 1}]
    assert looked(known, *reversed(files)) == [{0, 2}, {0, 1}]
    for file in files:
        file.write_bytes(b"\0" * file.stat().st_size)
        os.utime(file, ns=(FIRST, FIRST))
    assert looked(known, *files) == [{0, 1}, {0, 2}], "both are known"


@pytest.mark.parametrize("content", [b"no image", b"\x89PNG\r\n\x1a\n", b""])
def test_what_cannot_be_read_is_told_every_time(tmp_path: Path, known: Path, content: bytes) -> None:
    good, broken = tmp_path / "a.png", tmp_path / "b.png"
    write(good, 1)
    broken.write_bytes(content)
    for _ in range(2):
        annotations = SoundAnnotations(known)
        first, second, third = annotations.look([good, broken, tmp_path / "absent.png"])
        annotations.keep()
        assert first == Looked(frozenset({0, 1}))
        assert second.problem.startswith("cannot be read: ")
        assert "No such file" in third.problem


def test_an_annotation_that_is_cut_off_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    write(file, 1)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    (found,) = SoundAnnotations().look([file])
    assert found.problem.startswith("cannot be read: ")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"/": {"a.png": 1}}', '{"/": 3}', "{}"])
def test_a_damaged_file_of_what_is_known_counts_as_empty(tmp_path: Path, known: Path, content: Any) -> None:
    write(tmp_path / "a.png", 1)
    known.parent.mkdir()
    known.write_text(content)
    assert looked(known, tmp_path / "a.png") == [{0, 1}]


def test_where_nothing_can_be_kept_files_are_read_each_time(tmp_path: Path) -> None:
    write(tmp_path / "a.png", 1)
    (tmp_path / "home").write_text("no folder")
    for value in (1, 2):
        write(tmp_path / "a.png", value)
        assert looked(tmp_path / "home" / "annotations.json", tmp_path / "a.png") == [{0, value}]
