"""The ranks of a trial on a real Ray: all of them, or none."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import psutil
import pytest
import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tests.cluster.trainers import open_collective, open_stuck, open_summing
from tests.conftest import ROOT
from tuner.cluster.gang import Gang, Trainer
from tuner.cluster.leaving import ask_to_leave
from tuner.cluster.ray_tune import connected
from tuner.errors import Crashed, Died, Diverged, Hung, Left
from tuner.sizing.config_paths import apply
from tuner.spec.job import Resources
from tuner.spec.trial import Config
from tuner.training import open_training, process_group
from tuner.training.config import config as configs

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("gang"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves its processes' pipes to the collector
]

TWO = Resources(gpus_per_trial=0, ranks=2, global_batch=8)
TRAINER = Trainer(process_group.join, open_training)


@pytest.fixture(scope="module")
def group() -> Iterator[PlacementGroup]:
    with connected(None):
        group = placement_group([{"CPU": 1}] * 2)
        ray.get(group.ready())
        yield group
        remove_placement_group(group)


def config(**runner: float) -> Config:
    plain = configs.read(ROOT / "configs/synthetic.py") | {"seed": 0}
    return apply(plain, {f"runner.{key}": value for key, value in runner.items()}, "test")


def ranks() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    words = {child: child.as_dict(["cmdline"], ad_value=[])["cmdline"] for child in children}
    return [child for child in children if "ray::_Rank" in " ".join(words[child])]


def assert_is_free(group: PlacementGroup) -> None:
    places = [PlacementGroupSchedulingStrategy(group, number) for number in range(2)]
    held = [get_place.options(scheduling_strategy=place).remote() for place in places]
    assert len(ray.get(held, timeout=60)) == 2


@ray.remote(num_cpus=1)
def get_place() -> None:
    """Needs as much as a rank."""


def test_a_rank_killed_in_a_collective_ends_the_gang_at_once_and_frees_its_place(
    group: PlacementGroup, tmp_path: Path
) -> None:
    gang = Gang(TWO, group, Trainer(process_group.join, open_collective))
    gang.open({}, tmp_path)
    with ThreadPoolExecutor() as pool:
        step = pool.submit(gang.step, (480,))
        assert not wait([step], timeout=1).done
        victim, *_ = ranks()
        victim.kill()
        killed = time.monotonic()
        with pytest.raises(Died, match="a rank died"):
            step.result(timeout=60)
    gang.disband()
    while ranks():
        assert time.monotonic() - killed < 10
        time.sleep(0.05)
    assert_is_free(group)


def test_a_rank_that_raises_did_not_die(group: PlacementGroup, tmp_path: Path) -> None:
    gang = Gang(TWO, group, TRAINER)
    (tmp_path / "progress.json").write_text("nonsense")
    with pytest.raises(Crashed, match="a rank raised: json") as caught:
        gang.open(config(), tmp_path)
    assert not isinstance(caught.value, Died)
    gang.disband()


def test_a_diverged_training_leaves_the_gang_whole_for_the_next(
    group: PlacementGroup, tmp_path: Path
) -> None:
    gang = Gang(TWO, group, TRAINER)
    gang.open(config(diverges_above=0.0), tmp_path / "wild")
    with pytest.raises(Diverged, match="loss nan at iteration 60"):
        gang.step((60, 480))
    before = {rank.pid for rank in ranks()}
    gang.open(config(), tmp_path / "calm")
    assert gang.step((60, 480)).iteration == 60
    assert {rank.pid for rank in ranks()} == before
    gang.disband()


def test_ranks_that_are_asked_to_leave_do_so_at_the_same_iteration_and_go_on_from_there(
    group: PlacementGroup, tmp_path: Path
) -> None:
    """A rank that left before another would keep it in their collective for ever."""
    trainer = Trainer(process_group.join, open_summing)
    gang = Gang(TWO, group, trainer)
    gang.open({}, tmp_path)
    with ThreadPoolExecutor() as pool:
        step = pool.submit(gang.step, (10**9,))
        while not step.done():
            ask_to_leave(str(tmp_path / "another"))
            ask_to_leave(str(tmp_path))
        with pytest.raises(Left):
            step.result()
    gang.disband()
    iteration, total = json.loads((tmp_path / "progress.json").read_text())
    assert [json.loads((tmp_path / f"left_{rank}.json").read_text()) for rank in (0, 1)] == [iteration] * 2
    assert total == 3 * iteration
    again = Gang(TWO, group, trainer)
    again.open({}, tmp_path)
    measured = again.step((iteration + 5,))
    assert (measured.metrics["mIoU"], measured.system_metrics["begun_at"]) == (3 * (iteration + 5), iteration)
    again.disband()


def test_a_gang_in_which_nothing_moves_is_given_up_with_the_stacks_of_its_ranks(
    group: PlacementGroup, tmp_path: Path
) -> None:
    patience = TWO.model_copy(update={"hang_minutes": 0.1})
    gang = Gang(patience, group, Trainer(process_group.join, open_stuck))
    gang.open({}, tmp_path)
    with pytest.raises(
        Hung, match=r"for 0.1 minutes: rank 0: .*all_reduce.*; rank 1: .*> wait_for_file \(trainers"
    ):
        gang.step((60,))
    gang.disband()
    assert_is_free(group)
