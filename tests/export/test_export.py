"""A study's export: whole or not at all, verified, and told again when something was changed since."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from mmseg.apis import inference_segmentor, init_segmentor

from tests.conftest import JobFile
from tests.export.studies import searched
from tests.large_study import NASTY
from tests.records import STUDY
from tuner import trainings
from tuner.cli import main
from tuner.errors import BadInput, TunerError
from tuner.export import layout, verification
from tuner.export.asked import Asked
from tuner.export.card import card_text, reproduce_text
from tuner.export.contents import Contents, contents
from tuner.export.export import export
from tuner.files.modules import Modules
from tuner.files.paths import AnyPath, ExportFolder, Home
from tuner.files.urls import UrlPath
from tuner.files.writing import replacing, write_text
from tuner.sizing.precision import with_precision
from tuner.spec.job import JobSpec
from tuner.spec.trial import Record
from tuner.spec.yaml_files import read_job
from tuner.store.store import OptunaStore
from tuner.study.history import History
from tuner.training.config import config as configs
from tuner.training.data.toy import draw
from tuner.training.exported.alone import moved

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.xdist_group("an export"),  # of one study, which takes seconds to train
]
UNVERIFIED = Asked(verification="none")


@dataclass(frozen=True)
class Searched:
    store: OptunaStore
    home: Home
    images: Path
    best: ExportFolder
    messages: list[str]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Searched:
    """A study of two trials, exported."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "home").mkdir()
    draw(folder / "toys", images=3, validation=3)
    home = Home(folder / "home")
    store = searched(folder, home, folder / "toys")
    _, messages = export(store, home, folder / "best", Asked())
    return Searched(store, home, folder / "toys", ExportFolder(folder / "best"), list(messages))


@pytest.fixture
def copied(done: Searched, tmp_path: Path) -> ExportFolder:
    """The export again, to be changed."""
    shutil.copytree(done.best.root, tmp_path / "copied")
    return ExportFolder(tmp_path / "copied")


def test_what_an_export_holds(done: Searched) -> None:
    names = {str(file.relative_to(done.best.root)) for file in done.best.root.rglob("*") if file.is_file()}
    assert names == {
        "config.py", "checkpoint.pth", "standalone/config.py", "standalone/context_cluster.py", "changes.diff",
        "best.json", "provenance.json", "verification.json", "card.md", "reproduce.sh",
    }  # fmt: skip
    best = json.loads(done.best.best.read_text())
    record = done.store.records()[best["trial"]]
    assert record.last
    assert best["metrics"]["mIoU"] == record.last.metrics["mIoU"]
    assert {"params", "seed", "versions", "git_commit", "data", "verdict", "pareto_front"} <= best.keys()
    provenance = json.loads(done.best.provenance.read_text())
    assert provenance["sha256"].keys() == names - {
        "config.py",
        "standalone/config.py",
        "provenance.json",
        "card.md",
        "reproduce.sh",
    }
    card = done.best.card.read_text()
    for text in (f"trial {best['trial']}", "| sky |", "0 of ", "Apache-2.0", "mmseg's own order"):
        assert text in card


def test_a_card_and_its_commands_take_no_label_for_markup_or_for_a_command(done: Searched) -> None:
    record = done.store.records()[1]
    assert record.last
    last = replace(record.last, metrics={**record.last.metrics, **{f"IoU.{name}": 9.0 for name in NASTY}})
    records = [done.store.records()[0], replace(record, measurements=(last,))]
    history = History(done.store.job.model_copy(update={"data_root": Path("/x/`$(touch no)`|")}), records)
    found = contents(history, records[1], done.home, {}, None)
    found = replace(found, plain=moved(found.plain, layout.data_root(found.plain), "it's }; $(touch no) #"))
    with patch.object(Contents, "changes", "+a = '```'\n"):
        card = card_text(found, ["`a|b`"], {})
    assert "<script>" not in card
    assert "````diff\n+a = '```'\n````" in card
    rows = [line.replace("\\|", "") for line in card.partition("| class |")[2].splitlines()[2:]]
    assert {row.count("|") for row in rows if row} == {4}
    assert len([row for row in rows if row]) == 8 + len(NASTY)
    script = reproduce_text(found).replace("case ${1:-} in", 'printf %s "$DATA"; exit\ncase x in')
    assert subprocess.check_output(["bash", "-c", script], text=True) == "it's }; $(touch no) #"


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_a_card_says_how_precisely_was_trained(done: Searched, precision: str) -> None:
    history = History(done.store.job, done.store.records())
    found = contents(history, history.records[1], done.home, {}, None)
    card = card_text(replace(found, config=with_precision(found.config, precision)), [], {})
    assert f", in {precision}\n" in card
    assert ("in TF32)" in card) == (precision == "float32")


def test_a_verification_says_what_it_has_found(done: Searched) -> None:
    files, models, confusion = done.messages
    assert files == "5 files, both configs and 6 validation files are those that were exported"
    assert models.endswith(
        "without the tuner the standalone one gives the same logits (they differ by 0 at most)"
    )
    assert "of 3 of the 3 validation images is the recorded one: 0 of " in confusion


def test_changes_are_what_the_search_has_changed_and_nothing_else(done: Searched, tmp_path: Path) -> None:
    for number in (0, 1):
        export(
            done.store, done.home, tmp_path / str(number), replace(UNVERIFIED, trial=number, test=number == 1)
        )
    tested, untested = ((tmp_path / number / "card.md").read_text() for number in "10")
    value = done.store.records()[1].value("mIoU")
    assert f"On the test split, which chose nothing: mIoU {value:.2f}, " in tested
    assert "test split" not in untested
    assert (tmp_path / "0" / "changes.diff").read_text() == ""
    lines = (tmp_path / "1" / "changes.diff").read_text().splitlines()
    changed = [
        line[1:].strip().partition("=")[0]
        for line in lines
        if line[0] in "+-" and line[:3] not in ("+++", "---")
    ]
    params = done.store.records()[1].trial.params
    own = {"lr", "weight_decay"} | ({"centers"} if params["centers"] != 4 else set())
    assert set(changed) == own


def test_the_checkpoint_is_plain_and_mmsegs_tools_take_it(done: Searched) -> None:
    content = torch.load(done.best.checkpoint, weights_only=True)
    assert content.keys() == {"meta", "state_dict"}
    assert content["meta"]["config"] == done.best.config.read_text()
    segmentor = init_segmentor(str(done.best.standalone), str(done.best.checkpoint), "cpu")
    assert list(segmentor.CLASSES)[:2] == ["sky", "hill"]
    [labels] = inference_segmentor(segmentor, str(done.images / "images/validation/0000.jpg"))
    assert labels.shape == (96, 128)


def test_the_test_split_is_measured_where_the_config_has_one(done: Searched, copied: ExportFolder) -> None:
    config = configs.read(copied.config)
    config["data"]["test"] |= {"img_dir": "images/training", "ann_dir": "annotations/training"}
    copied.config.write_text(configs.text(config))
    val, test = (
        trainings.evaluate(copied.config, copied.checkpoint, None, split) for split in ("val", "test")
    )
    assert val["mIoU"] == pytest.approx(json.loads(done.best.best.read_text())["metrics"]["mIoU"])
    assert test["mIoU"] != val["mIoU"]
    del config["data"]["test"]
    copied.config.write_text(configs.text(config))
    with pytest.raises(BadInput, match=r"data\.test: the config has no test split"):
        trainings.evaluate(copied.config, copied.checkpoint, None, "test")


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def reword(old: str, new: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("checkpoint.pth", damage, "checkpoint.pth: .*\n.*(was changed: its SHA-256|is no checkpoint)"),
        ("config.py", reword("'power': 0.9", "'power': 0.8"), "config.py: 1 problem\n  lr_config.power was changed"),
        (
            "standalone/config.py",
            reword("max_iters=90", "max_iters=91"),
            "standalone/config.py: 1 problem\n  runner.max_iters was changed",
        ),
        ("standalone/context_cluster.py", damage, "standalone/context_cluster.py: .*\n  was changed"),
        ("verification.json", Path.unlink, "verification.json: 1 problem\n  is missing"),
    ],
)  # fmt: skip
def test_what_was_changed_is_named(
    copied: ExportFolder, name: str, change: Callable[[Path], None], message: str
) -> None:
    change(copied.root / name)
    with pytest.raises(BadInput, match=message):
        verification.verify(copied, None, full=False)


def test_a_missing_image_is_named_on_the_command_line_with_exit_code_2(
    done: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = shutil.copytree(done.images, tmp_path / "images")
    (images / "images/validation/0001.jpg").unlink()
    (images / "images/training/0002.jpg").unlink()
    monkeypatch.setattr("sys.argv", ["tuner", "verify", str(done.best.root), "--data-root", str(images)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "images/validation/0001.jpg is missing" in error
    assert "images/training/0002.jpg is missing" in error


def test_a_folder_of_images_that_is_not_there_is_told_with_the_flag(done: Searched, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--data-root"):
        verification.verify(done.best, tmp_path / "nowhere", full=False)


def test_other_weights_give_another_confusion_matrix(done: Searched, tmp_path: Path) -> None:
    """The recorded matrix is changed, as if the weights were another trial's."""
    trial = done.home.trial("toys", 0)
    kept = trial.confusion.read_text()
    recorded = json.loads(kept)
    recorded["subset"] = [row[::-1] for row in recorded["subset"]]
    try:
        trial.confusion.write_text(json.dumps(recorded))
        export(done.store, done.home, tmp_path / "to", replace(UNVERIFIED, trial=0))
    finally:
        trial.confusion.write_text(kept)
    folder = ExportFolder(tmp_path / "to")
    exported = verification._loaded(folder, None)  # noqa: SLF001
    facts = json.loads(folder.recorded.read_text())
    with pytest.raises(BadInput, match=r"checkpoint\.pth: .*\n.*another confusion matrix of 3 of the 3"):
        verification._same_scores(folder, exported, facts, full=False)  # noqa: SLF001
    assert "of all validation images" in verification._same_scores(folder, exported, facts, full=True)  # noqa: SLF001


def test_a_failed_check_names_itself_and_leaves_no_folder(
    done: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "run_alone", lambda _export: "KeyError: 'no such backbone'")
    with pytest.raises(BadInput, match=r"standalone/config\.py: .*\n.*without the tuner: KeyError: 'no such"):
        export(done.store, done.home, tmp_path / "to" / "best", Asked())
    assert list((tmp_path / "to").iterdir()) == []


def test_an_earlier_export_is_replaced_and_nothing_else(
    done: Searched, copied: ExportFolder, tmp_path: Path
) -> None:
    export(done.store, done.home, copied.root, replace(UNVERIFIED, trial=1))
    assert json.loads(copied.best.read_text())["trial"] == 1
    assert "Nothing: `tuner verify`" in copied.card.read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(BadInput, match="holds something else than an earlier export"):
        export(done.store, done.home, tmp_path / "mine", UNVERIFIED)


@pytest.fixture
def elsewhere(done: Searched, url: str) -> Home:
    """The study's trials at a URL."""
    home = replace(done.home, checkpoints=UrlPath(url))
    for number in (0, 1):
        here, there = done.home.trial("toys", number), home.trial("toys", number)
        for name in ("config", "checkpoint", "confusion"):
            copy(getattr(here, name), getattr(there, name))
    return home


def copy(source: AnyPath, target: AnyPath) -> None:
    with source.open("rb") as opened, replacing(target) as beside:
        beside.write_bytes(opened.read())


def test_trials_in_object_storage_are_exported(done: Searched, elsewhere: Home, tmp_path: Path) -> None:
    export(done.store, elsewhere, tmp_path / "to", UNVERIFIED)
    theirs, ours = (
        torch.load(f, weights_only=True) for f in (tmp_path / "to/checkpoint.pth", done.best.checkpoint)
    )
    assert all(
        torch.equal(theirs["state_dict"][name], ours["state_dict"][name]) for name in ours["state_dict"]
    )
    assert (tmp_path / "to/verification.json").read_text() == done.best.recorded.read_text()


def test_a_checkpoint_that_is_gone_says_what_can_still_be_done(
    done: Searched, elsewhere: Home, tmp_path: Path
) -> None:
    best = json.loads(done.best.best.read_text())["trial"]
    elsewhere.trial("toys", best).checkpoint.unlink()
    with pytest.raises(
        TunerError, match=rf"the checkpoint of trial {best} is gone .*tuner train .*--trial {1 - best}"
    ):
        export(done.store, elsewhere, tmp_path / "to", UNVERIFIED)
    assert not (tmp_path / "to").exists()


@dataclass
class Drawn:
    """A study that trained nothing."""

    job: JobSpec
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def modules(self) -> Modules:
        return Modules()

    def records(self) -> list[Record]:
        return STUDY


def test_only_a_completed_trial_of_a_model_is_exported(job_file: JobFile, tmp_path: Path) -> None:
    study, home = Drawn(read_job(job_file())), Home(tmp_path / "home")
    for pruned_failed_or_unknown in (1, 2, 99):
        with pytest.raises(TunerError, match=f"study syn has no completed trial {pruned_failed_or_unknown}"):
            export(study, home, tmp_path / "no", replace(UNVERIFIED, trial=pruned_failed_or_unknown))
    with pytest.raises(TunerError, match=r"there is no .*config\.py.*: are --home and --checkpoints"):
        export(study, home, tmp_path / "no", UNVERIFIED)
    for number in (0, 3):
        write_text(home.trial("syn", number).config, "config = {'runner': 1}")
    with pytest.raises(TunerError, match="trained no model, only curves by formula"):
        export(study, home, tmp_path / "no", UNVERIFIED)
    assert not (tmp_path / "no").exists()
