"""Which snapshots are kept for children, and what happens when one is lost."""

from pathlib import Path

import pytest

from search.record import lineage
from search.run_folder import snapshot_name
from search.space.space import Space
from tests.search.schedulers.toy_population import ToyStudy


def test_only_snapshots_from_which_a_child_can_start_are_kept(space: Space, tmp_path: Path) -> None:
    toy = ToyStudy(space, tmp_path / "trials")
    for _ in range(5):
        toy.start()
    for number, score in enumerate((0.3, 0.5, 0.4, 0.1, 0.2)):
        toy.report(number, 1, score)
        toy.report(number, 2, score)
    assert toy.snapshots() >= {"0001/state-0002.pt", "0002/state-0002.pt"}
    assert len(toy.snapshots()) == 2, "half of a population of four"
    parents = [lineage.origin(trial) for trial in toy.waiting()]
    assert len(parents) == 2
    for _ in range(7):  # the two children, and better trials: the parents fall behind
        number = toy.start()["number"]
        toy.report(number, 2, 0.9 + number / 100)
    needed = {f"{origin.parent:04d}/{snapshot_name(2)}" for origin in parents}
    assert toy.snapshots() >= needed, "a running child may have to start again"
    (tmp_path / "trials" / "0006" / snapshot_name(4)).touch()  # its score is not in the record yet
    toy.resume()
    toy.population.tidy()
    assert "0006/state-0004.pt" in toy.snapshots()
    toy.population.clear()
    assert not toy.snapshots()


@pytest.mark.parametrize("layers", [(2, 2), (2, 3)], ids=["another fits", "none fits"])
def test_a_child_whose_snapshot_is_lost_takes_one_that_fits_or_starts_with_fresh_weights(
    space: Space, tmp_path: Path, layers: tuple[int, int]
) -> None:
    toy = ToyStudy(space, tmp_path / "trials")
    values = {"dropout": 0.1, "use_gumbel": False, "link_loss_epoch": 5, "nodeformer_dropout": 0.2}
    for number, num_L in enumerate((2, *layers, 2)):
        toy.study.enqueue_trial({"lr": 1e-3 * (number + 1), "num_L": num_L, **values})
    for _ in range(4):
        toy.start()
    for number, score in enumerate((0.3, 0.5, 0.4, 0.1)):
        toy.report(number, 2, score)
    lost = lineage.origin(toy.waiting()[0])
    lineage.snapshot_file(toy.trials, lost).unlink()
    given, other = toy.start(), 3 - lost.parent  # the two best are 1 and 2
    attributes = toy.study.trials[given["number"]].user_attrs
    assert f"the state of trial {lost.parent} after epoch 2 is gone" in attributes["adopted"]
    if layers[0] == layers[1]:
        assert given["parent"] == (attributes["parent"], 2) == (other, 2)
    else:
        assert "parent" not in given
        assert attributes["parent"] is None
        assert set(lineage.own_scores(toy.study.trials, 2)) == {0, 1, 2, 3}
        toy.report(given["number"], 1, 0.1)
        assert given["number"] in lineage.own_scores(toy.study.trials, 1)
    running = len(toy.searcher.live)
    toy.resume()
    assert given in [toy.start() for _ in range(running)], "a resume does not change it"
