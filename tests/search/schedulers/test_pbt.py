"""Who is replaced by whose child, what the child is made of, and how it goes on where its parent was."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from rigsl.model.rigsl import RIGSL
from rigsl.training.evaluation import evaluate
from rigsl.training.fit import fit
from rigsl.training.trainer import CONTINUABLE, Training
from search.execution.searcher import StudySearcher
from search.execution.trainable import TrialWorker, WorkerOptions
from search.record import lineage
from search.record.learning_curve import METRIC, read_curve
from search.run_folder import CONFIG, MODEL, SNAPSHOTS, snapshot_name
from search.schedulers.pbt import Population, PopulationScheduler, check_population
from search.schedulers.perturb import explore, explored
from search.space.budget import Budget
from search.space.schedule import Schedule
from search.space.space import Space, read_space
from tests.helpers.toy_study import make_corpus

SPACE = """
[study]
dataset = "MELD"
features = "open"
[fixed]
modals = "ld"
hidden_dim = 8
num_K = 1
nodeformer_heads = 1
nb_features_dim = 4
epochs = 9
[space.lr]
type = "float"
low = 1e-4
high = 1e-1
log = true
[space.num_L]
type = "int"
low = 1
high = 3
[space.dropout]
type = "float"
low = 0.0
high = 0.6
step = 0.1
[space.use_gumbel]
type = "choice"
values = [true, false]
[space.gumbel_k]
type = "choice"
values = [1, 2, 4, 8]
when = { use_gumbel = true }
[space.link_loss_epoch]
type = "int"
low = 2
high = 20
[space.nodeformer_dropout]
type = "float"
low = 0.1
high = 0.5
when = { num_L = [2, 3] }
[scheduler]
name = "pbt"
interval = 2
population = 4
quantile = 0.5
"""


@pytest.fixture
def space(tmp_path: Path) -> Space:
    (tmp_path / "space.toml").write_text(SPACE, encoding="utf-8")
    return read_space(tmp_path / "space.toml")


@pytest.fixture(scope="module")
def corpus():
    return make_corpus()


CONFIG_A = RIGSLConfig(
    modals="ld", hidden_dim=8, num_L=1, num_K=1, nodeformer_heads=1, nb_features_dim=4, gumbel_k=2,
    epochs=6, lr=1e-2, batch_size=4, ema=0.5,
)  # fmt: skip
#: Another value of everything that may change in a training.
CHANGED = {
    "dropout": 0.2, "denoise_dropout": 0.1, "nodeformer_dropout": 0.1, "temperature": 1.0, "anneal_to": 0.5,
    "anneal_epoch": 3, "tau": 0.5, "use_gumbel": False, "gumbel_k": 4, "class_weight": "sqrt",
    "focal_gamma": 1.0, "penalty_weight_coff": 1e-3, "link_loss_coff": 0.1, "link_loss_epoch": 3, "lr": 3e-3,
    "l2": 1e-3, "batch_size": 8, "epochs": 5, "patience": 4,
}  # fmt: skip


# What a training can go on with


@pytest.mark.parametrize("backbone", ["M3Net", "GAT", "MMGCN"])
def test_what_may_change_leaves_the_weights_as_they_are(corpus, backbone: str) -> None:
    assert set(CHANGED) == CONTINUABLE
    base = CONFIG_A.replace(backbone=backbone)
    shapes = {name: value.shape for name, value in RIGSL(base, corpus.schema).state_dict().items()}
    for name, value in CHANGED.items():
        assert value != getattr(base, name)
        other = RIGSL(base.replace(**{name: value}), corpus.schema).state_dict()
        assert {key: tensor.shape for key, tensor in other.items()} == shapes, name


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_L", 2), ("hidden_dim", 16), ("sparsifier", "sparsemax"), ("ema", 0.0), ("seed", 5)],
)
def test_another_structure_or_seed_is_refused(corpus, tmp_path: Path, name: str, value) -> None:
    training = Training(CONFIG_A, corpus)
    training.save(tmp_path / "state.pt")
    with pytest.raises(UserError, match=rf"state\.pt: {name} cannot change from"):
        Training.load(tmp_path / "state.pt", corpus, config=CONFIG_A.replace(**{name: value}))
    with pytest.raises(UserError, match=f"^{name} cannot change from"):
        training.under(CONFIG_A.replace(**{name: value}))


def test_a_training_under_changed_values_is_the_manual_continuation(corpus, tmp_path: Path) -> None:
    changed = CONFIG_A.replace(lr=3e-3, l2=1e-3, batch_size=8, focal_gamma=1.5)
    by_hand = trained(CONFIG_A, corpus, 2)
    by_hand.save(tmp_path / "state.pt")
    loaded = Training.load(tmp_path / "state.pt", corpus, config=changed)
    in_memory = by_hand.under(changed)
    by_hand._optimiser.lr, by_hand._optimiser.weight_decay = 3e-3, 1e-3
    by_hand.config = changed  # batches and loss are read from here
    unchanged = Training.load(tmp_path / "state.pt", corpus)
    for _ in range(2):
        expected = scores(by_hand.step())
        assert scores(loaded.step()) == expected
        assert scores(in_memory.step()) == expected
        assert scores(unchanged.step()) != expected
    for name, value in by_hand.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value)


def test_the_model_itself_works_with_the_changed_values(corpus) -> None:
    config = CONFIG_A.replace(**CHANGED)
    going_on = trained(CONFIG_A, corpus, 1).under(config)
    built = RIGSL(config, corpus.schema)
    built.load_state_dict(going_on.model.state_dict())
    batch = going_on._source.batch(corpus.dialogues("train")[:3])
    found = []
    for model in (going_on.model.train(), built.train()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model.start_epoch(1)
            found.append(model(batch))
    assert torch.equal(found[0].log_prob, found[1].log_prob)
    assert torch.equal(found[0].penalty, found[1].penalty)


def test_the_last_epoch_follows_the_new_configuration(corpus) -> None:
    training = trained(CONFIG_A, corpus, 2)
    assert training.under(CONFIG_A.replace(epochs=2)).done
    assert not trained(CONFIG_A.replace(epochs=2), corpus, 2).under(CONFIG_A).done


def test_a_best_epoch_before_the_change_is_kept_with_its_own_configuration(corpus) -> None:
    training = trained(CONFIG_A, corpus, 3)
    going_on = training.under(CONFIG_A.replace(lr=1e-12, tau=5.0, dropout=0.9))
    before = torch.get_rng_state()
    best = going_on.best_model()
    assert torch.equal(torch.get_rng_state(), before)
    assert best.config == CONFIG_A
    found = evaluate(best, corpus, "dev").scores.weighted_f1
    assert found == training.last_report.best_weighted_f1


def test_a_lineage_is_trained_again_bit_for_bit(corpus, tmp_path: Path) -> None:
    second, third = CONFIG_A.replace(lr=2e-3, dropout=0.1), CONFIG_A.replace(lr=5e-3, tau=0.6, batch_size=8)
    training = trained(CONFIG_A, corpus, 2)
    for config, until in ((second, 4), (third, 6)):
        training.save(tmp_path / "state.pt")
        training = Training.load(tmp_path / "state.pt", corpus, config=config)
        while training.epoch < until:
            training.step()
    again = fit(third, corpus, lineage=[(CONFIG_A, 2), (second, 4)])
    assert [report.epoch for report in again.history] == [1, 2, 3, 4, 5, 6]
    assert scores(again.history[-1]) == scores(training.last_report)
    for name, value in training.best_model().state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)


def trained(config: RIGSLConfig, corpus, epochs: int) -> Training:
    training = Training(config, corpus)
    for _ in range(epochs):
        training.step()
    return training


def scores(report) -> dict:
    return {name: value for name, value in report.metrics().items() if "seconds" not in name}


# What a child is made of


def drawn(space: Space, count: int) -> Iterator[dict]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
    return (space.suggest(study.ask()) for _ in range(count))


def test_a_child_is_inside_the_space_and_its_conditions(space: Space) -> None:
    rng = np.random.default_rng(0)
    seen = []
    for parent in drawn(space, 40):
        for _ in range(15):
            child = explore(space, parent, rng)
            for name, parameter in space.parameters.items():
                assert (name in child) == parameter.active(child)
                assert name not in child or parameter.contains(child[name]), (name, child)
            assert child["num_L"] == parent["num_L"]
            seen.append((parent, child))
    changed = {name for one, other in seen for name in one if one[name] != other.get(name)}
    assert changed == set(explored(space)) == set(space.parameters) - {"num_L"}
    met = [child for parent, child in seen if not parent["use_gumbel"] and child["use_gumbel"]]
    assert {child["gumbel_k"] for child in met} == {1, 2, 4, 8}


def test_numbers_move_by_the_factors_and_choices_to_a_neighbour(space: Space, monkeypatch) -> None:
    monkeypatch.setattr("search.schedulers.perturb.RESAMPLED", 0.0)
    parent = {
        "lr": 1e-2, "num_L": 1, "dropout": 0.1, "use_gumbel": True, "gumbel_k": 4, "link_loss_epoch": 2
    }  # fmt: skip
    rng = np.random.default_rng(0)
    children = [explore(space, parent, rng) for _ in range(60)]
    assert {child["lr"] for child in children} == {0.8 * 1e-2, 1.25 * 1e-2}
    assert {child["dropout"] for child in children} == {0.0, 0.2}  # a step, where the factor is less than one
    assert {child["gumbel_k"] for child in children if child["use_gumbel"]} >= {2, 8}
    assert {child["link_loss_epoch"] for child in children} == {2, 3}  # the range ends at 2


def test_the_same_seed_explores_the_same(space: Space) -> None:
    parent = next(drawn(space, 1))
    first, second = (explore(space, parent, np.random.default_rng([3, 4, 5])) for _ in range(2))
    assert first == second


def test_a_space_without_anything_to_explore_is_refused(space: Space, tmp_path: Path) -> None:
    head = SPACE.split("[space.lr]")[0]
    path = tmp_path / "rigid.toml"
    path.write_text(head + '[space.num_L]\ntype = "int"\nlow = 1\nhigh = 3\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"rigid\.toml: \[space\] names no parameter that can change"):
        check_population(read_space(path), Schedule("pbt"), epochs=9)
    with pytest.raises(UserError, match="interval: 2 is not below the 2 epochs"):
        check_population(space, space.schedule, epochs=2)
    check_population(space, space.schedule, epochs=9)


@pytest.mark.parametrize(
    ("key", "value"),
    [("quantile", 0.6), ("quantile", 1), ("population", 1), ("interval", 0), ("interval", 1.5), ("grace", 2)],
)
def test_a_mistake_in_the_schedule_is_named(tmp_path: Path, key: str, value: float) -> None:
    lines = [old for old in SPACE.splitlines() if not old.startswith(key)]
    (tmp_path / "space.toml").write_text("\n".join([*lines, f"{key} = {value}"]), encoding="utf-8")
    with pytest.raises(UserError, match=rf"\[scheduler\] {key}:"):
        read_space(tmp_path / "space.toml")


# Who is replaced


class Life:
    """A study without workers: trials whose scores are said."""

    def __init__(self, space: Space, trials: Path | None = None, most: int | None = 50) -> None:
        self.study, self.space, self.trials, self.most = new_study(), space, trials, most
        self.names: dict[int, str] = {}  #: number -> Ray's name
        self.wake()

    def wake(self) -> None:
        """As a resume does: everything anew from the record."""
        self.population = Population(
            self.study, self.space, self.space.schedule, seed=3, epochs=9, trials=self.trials, most=self.most
        )
        self.searcher = StudySearcher(
            self.study, self.space, sampler="random", seed=3, budget=Budget(trials=50), workers=50,
            overrides={}, trials=self.trials,
        )  # fmt: skip

    def begin(self) -> dict:
        name = f"ray{len(self.names)}-{len(self.searcher.live)}"
        given = self.searcher.suggest(name)
        assert isinstance(given, dict)
        self.names[given["number"]] = name
        if self.trials is not None:
            (self.trials / f"{given['number']:04d}").mkdir(parents=True, exist_ok=True)
            config = RIGSLConfig(**given["config"])
            (self.trials / f"{given['number']:04d}" / CONFIG).write_text(config.to_toml(), encoding="utf-8")
        return given

    def tell(self, number: int, epoch: int, score: float) -> bool:
        """An epoch of a trial, as Ray tells it: whether the scheduler stops the trial."""
        if self.trials is not None and epoch % 2 == 0:
            (self.trials / f"{number:04d}" / snapshot_name(epoch)).touch()
        stopped = self.population.stops(number, epoch, score)
        hear = self.searcher.on_trial_complete if stopped else self.searcher.on_trial_result
        hear(self.names[number], {"epoch": epoch, METRIC: score})
        self.population.reached(number, epoch)
        return stopped

    def snapshots(self) -> set[str]:
        assert self.trials is not None
        return {str(path.relative_to(self.trials)) for path in self.trials.glob(f"*/{SNAPSHOTS}")}

    def waiting(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(states=[TrialState.WAITING])


def new_study() -> optuna.Study:
    return optuna.create_study(direction="maximize")


@pytest.fixture
def life(space: Space) -> Life:
    """Four trials; three have told epoch 2, the best is number 1."""
    made = Life(space)
    for _ in range(4):
        made.begin()
    for number, score in ((0, 0.3), (1, 0.5), (2, 0.4)):
        made.tell(number, 1, score / 2)
        assert not made.tell(number, 2, score), "less than a population has been there"
    return made


def test_a_weak_trial_makes_room_for_a_child_of_a_strong_one(life: Life) -> None:
    assert life.tell(3, 2, 0.1)
    (child,) = life.waiting()
    assert child.user_attrs == {"parent": child.user_attrs["parent"], "parent_epoch": 2, "replaces": 3}
    assert child.user_attrs["parent"] in (1, 2)
    assert life.study.trials[3].state == TrialState.PRUNED
    assert lineage.reason(life.study, 3, 2) == "stopped after epoch 2; trial 4 takes its place"
    assert lineage.reason(life.study, 2, 2) == "stopped by the scheduler after epoch 2"
    given = life.begin()
    assert given["number"] == child.number == 4
    assert given["parent"] == (child.user_attrs["parent"], 2)
    parent = life.study.trials[child.user_attrs["parent"]]
    assert life.study.trials[4].params != parent.params
    assert given["config"]["num_L"] == parent.params["num_L"]


def test_a_strong_or_an_equal_trial_goes_on(life: Life) -> None:
    assert not life.tell(3, 1, 0.0)  # no interval ends here
    assert not life.tell(3, 2, 0.45)
    assert not life.waiting()


def test_a_trial_is_measured_by_its_population_not_by_all_that_ever_were(space: Space) -> None:
    life = Life(space)
    for _ in range(8):
        life.begin()
    told = [life.tell(number, 2, 0.1 + number / 100) for number in range(7)]
    assert not any(told), "each is better than those before"
    assert life.tell(7, 2, 0.145)  # better than five of seven, but not than the last three


def test_equal_trials_all_go_on(space: Space) -> None:
    life = Life(space)
    for number in range(6):
        life.begin()
        assert not life.tell(number, 2, 0.2)


def test_asked_again_the_answer_is_the_same_and_there_is_one_child(life: Life) -> None:
    assert life.population.stops(3, 2, 0.1)
    life.wake()
    assert life.population.stops(3, 2, 0.1)
    assert life.population.stops(3, 1, 0.0), "it goes on from an older state and is stopped all the same"
    assert len(life.waiting()) == 1


def test_who_was_judged_is_not_judged_again_after_a_resume(life: Life) -> None:
    life.tell(3, 2, 0.45)
    assert not life.population.stops(0, 2, 0.3)  # by now it is among the weak ones


def test_no_trial_is_stopped_for_a_child_that_the_budget_does_not_allow(space: Space) -> None:
    life = Life(space, most=4)
    for _ in range(4):
        life.begin()
    for number, score in ((0, 0.3), (1, 0.5), (2, 0.4), (3, 0.1)):
        assert not life.tell(number, 2, score)


def test_a_lone_trial_goes_on_to_its_end(space: Space) -> None:
    life = Life(space)
    life.begin()
    assert not any(life.tell(0, epoch, 0.1) for epoch in range(1, 9))


def test_inherited_epochs_are_neither_judged_nor_compared_with(life: Life) -> None:
    life.tell(3, 2, 0.1)
    parent = life.begin()["parent"][0]
    score = life.study.trials[parent].intermediate_values[2]
    assert not life.tell(4, 1, score / 2)
    assert not life.tell(4, 2, score)
    assert set(lineage.own_scores(life.study.trials, 2)) == {0, 1, 2, 3}
    for number in (0, 1, 2):
        life.tell(number, 4, 0.6 + number / 10)
    assert life.tell(4, 4, score)
    child = life.waiting()[0]
    assert child.user_attrs["parent"] in (1, 2)
    assert child.user_attrs["parent_epoch"] == 4


def test_a_failed_trial_is_nobodys_parent(life: Life) -> None:
    life.searcher.on_trial_complete(life.names[1], {"ended": "failed", "reason": "diverged", "done": True})
    life.begin()
    life.tell(4, 2, 0.2)
    assert life.tell(3, 2, 0.1)
    assert {trial.user_attrs["parent"] for trial in life.waiting()} <= {0, 2}


def test_nobody_is_stopped_for_a_child_that_no_worker_could_carry(life: Life) -> None:
    life.population.excess = lambda config: 0.1
    assert not life.tell(3, 2, 0.1)
    assert not life.waiting()


def test_siblings_differ(space: Space) -> None:
    life = Life(space)
    for _ in range(30):
        life.begin()
    for number in range(30):
        life.tell(number, 2, 1 / (number + 1))
    attempts = [(lineage.origin(trial), str(trial.system_attrs["fixed_params"])) for trial in life.waiting()]
    assert len(attempts) > 5
    assert len(set(attempts)) == len(attempts)


def test_the_scheduler_of_ray_stops_who_makes_room(life: Life) -> None:
    class RayTrial:
        config = {"number": 3}  # noqa: RUF012

    scheduler = PopulationScheduler(METRIC, life.population)
    assert scheduler.on_trial_result(None, RayTrial(), {"epoch": 1, METRIC: 0.1}) == "CONTINUE"
    assert scheduler.on_trial_result(None, RayTrial(), {"ended": "failed", "epochs": 1}) == "CONTINUE"
    assert scheduler.on_trial_result(None, RayTrial(), {"epoch": 2, METRIC: 0.1}) == "STOP"


def test_a_resumed_search_decides_as_if_never_interrupted(space: Space) -> None:
    def lived(restart_at: int | None) -> list[tuple]:
        life, step = Life(space), 0
        for _ in range(14):  # generations of two trials side by side
            pair = [life.begin(), life.begin()]
            running = {given["number"]: given.get("parent", (0, 0))[1] for given in pair}
            while running:
                for number, epoch in list(running.items()):
                    step += 1
                    if step == restart_at:
                        left = len(life.searcher.live)
                        life.wake()
                        assert {life.begin()["number"] for _ in range(left)} >= set(running)
                    noise = np.random.default_rng([number, epoch]).uniform(0, 0.1)
                    score = -np.log10(life.study.trials[number].params["lr"]) / 10 + noise + epoch / 50
                    del running[number]
                    if not life.tell(number, epoch + 1, float(score)) and epoch < 7:
                        running[number] = epoch + 1
            for name in sorted(life.searcher.live, key=lambda name: life.searcher.live[name].trial.number):
                life.searcher.on_trial_complete(name, {"epoch": 9, METRIC: 0.5, "ended": "by itself"})
        trials = life.study.trials
        return [(trial.params, trial.user_attrs, trial.state, trial.intermediate_values) for trial in trials]

    whole = lived(None)
    children = [entry for entry in whole if "replaces" in entry[1]]
    assert len(children) >= 5
    for restart_at in (40, 101):
        assert lived(restart_at) == whole


# Where a child begins


def test_only_the_states_from_which_a_child_can_begin_are_kept(space: Space, tmp_path: Path) -> None:
    life = Life(space, tmp_path / "trials")
    for _ in range(5):
        life.begin()
    for number, score in enumerate((0.3, 0.5, 0.4, 0.1, 0.2)):
        life.tell(number, 1, score)
        life.tell(number, 2, score)
    assert life.snapshots() >= {"0001/state-0002.pt", "0002/state-0002.pt"}
    assert len(life.snapshots()) == 2, "half of a population of four"
    parents = [lineage.origin(trial) for trial in life.waiting()]
    assert len(parents) == 2
    for _ in range(7):  # the two children, and better trials: the parents fall behind
        number = life.begin()["number"]
        life.tell(number, 2, 0.9 + number / 100)
    kept = {f"{one.parent:04d}/{snapshot_name(2)}" for one in parents}
    assert life.snapshots() >= kept, "the children that run may have to begin once more"
    (tmp_path / "trials" / "0006" / snapshot_name(4)).touch()  # its score is on the way
    life.wake()
    life.population.tidy()
    assert "0006/state-0004.pt" in life.snapshots()
    life.population.clear()
    assert not life.snapshots()


@pytest.mark.parametrize("layers", [(2, 2), (2, 3)], ids=["another fits", "none fits"])
def test_a_child_whose_parents_state_is_gone_takes_what_fits_or_begins_anew(
    space: Space, tmp_path: Path, layers: tuple[int, int]
) -> None:
    life = Life(space, tmp_path / "trials")
    values = {"dropout": 0.1, "use_gumbel": False, "link_loss_epoch": 5, "nodeformer_dropout": 0.2}
    for number, num_L in enumerate((2, *layers, 2)):
        life.study.enqueue_trial({"lr": 1e-3 * (number + 1), "num_L": num_L, **values})
    for _ in range(4):
        life.begin()
    for number, score in enumerate((0.3, 0.5, 0.4, 0.1)):
        life.tell(number, 2, score)
    lost = lineage.origin(life.waiting()[0])
    lineage.snapshot(life.trials, lost).unlink()
    given, other = life.begin(), 3 - lost.parent  # the two best are 1 and 2
    told = life.study.trials[given["number"]].user_attrs
    assert f"the state of trial {lost.parent} after epoch 2 is gone" in told["adopted"]
    if layers[0] == layers[1]:
        assert given["parent"] == (told["parent"], 2) == (other, 2)
    else:
        assert "parent" not in given
        assert told["parent"] is None
        assert set(lineage.own_scores(life.study.trials, 2)) == {0, 1, 2, 3}
        life.tell(given["number"], 1, 0.1)
        assert given["number"] in lineage.own_scores(life.study.trials, 1)
    running = len(life.searcher.live)
    life.wake()
    assert given in [life.begin() for _ in range(running)], "a resume does not change it"


def test_a_child_is_no_repetition_of_a_trial_with_its_values(life: Life) -> None:
    attributes = {"parent": 1, "parent_epoch": 2, "replaces": 3}
    life.study.enqueue_trial(life.study.trials[0].params, user_attrs=attributes)
    given = life.begin()
    assert given["parent"] == (1, 2)
    assert life.study.trials[given["number"]].state == TrialState.RUNNING


def test_a_fresh_proposal_with_the_values_of_a_child_is_no_repetition_of_it(life: Life) -> None:
    life.tell(3, 2, 0.1)
    child = life.begin()
    life.study.enqueue_trial(life.study.trials[child["number"]].params)
    fresh = life.begin()
    assert fresh == {"number": 5, "config": child["config"]}


def test_a_worker_goes_on_where_the_parent_was(corpus, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("search.execution.trainable.SAVING_SHARE", 0)  # save after every epoch, however short
    worker = TrialWorker.__new__(TrialWorker)  # Ray's own constructor wants a cluster; it only calls setup
    options = WorkerOptions(trials=tmp_path, device="cpu", threads=1, snapshot_every=2)
    first = {"number": 0, "config": CONFIG_A.to_dict()}
    worker.setup(first, corpus, options)
    parent = [worker.step() for _ in range(6)]
    names = sorted(path.name for path in (tmp_path / "0000").glob(SNAPSHOTS))
    assert names == ["state-0002.pt", "state-0004.pt"], "nothing follows the last epoch"
    changed = CONFIG_A.replace(lr=1e-3, tau=0.6)
    child = {"number": 1, "config": changed.to_dict(), "parent": (0, 4)}
    worker.reset_config(child)
    reports = [worker.step()]
    assert (tmp_path / "0001" / MODEL / "model.safetensors").is_file()
    reports += [worker.step() for _ in range(5)]
    assert [report["epoch"] for report in reports] == [1, 2, 3, 4, 5, 6]
    assert [report["done"] for report in reports] == [False] * 5 + [True]
    assert [one[METRIC] for one in reports[:4]] == [one[METRIC] for one in parent[:4]]
    own = Training.load(tmp_path / "0000" / "state-0004.pt", corpus, config=changed)
    own.step()
    assert own.step().best_weighted_f1 == reports[-1][METRIC]
    assert reports[3]["seconds"] == 0 < reports[4]["seconds"]
    assert [line["epoch"] for line in read_curve(tmp_path / "0001")] == [1, 2, 3, 4, 5, 6]
    worker.reset_config(child)
    assert worker.step()["epoch"] == 6, "its own state is there, the parent's is no longer needed"


def test_a_score_is_traced_to_the_stages_that_led_to_it(tmp_path: Path) -> None:
    study = new_study()
    configs = [CONFIG_A, CONFIG_A.replace(lr=1e-3), CONFIG_A.replace(lr=1e-4)]
    for number, config in enumerate(configs):
        attributes = {"parent": number - 1, "parent_epoch": 2 * number, "replaces": 9} if number else {}
        study.enqueue_trial({}, user_attrs=attributes)
        study.ask()
        (tmp_path / f"{number:04d}").mkdir()
        (tmp_path / f"{number:04d}" / CONFIG).write_text(config.to_toml(), encoding="utf-8")
    last = study.trials[2]
    for best_epoch, expected in (
        (6, [(0, 2), (1, 4), (2, 6)]),
        (5, [(0, 2), (1, 4), (2, 6)]),
        (4, [(0, 2), (1, 4)]),
        (1, [(0, 2)]),
    ):
        last.user_attrs = last.user_attrs | {"best_epoch": best_epoch, "epochs": 6}
        found = lineage.stages(study, tmp_path, last)
        assert [(stage.number, stage.until) for stage in found] == expected
        assert [stage.config for stage in found] == configs[: len(expected)]
