"""A space file is checked when it is read, and afterwards only valid configurations come out of it."""

from pathlib import Path

import optuna
import pytest

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from search.run_folder import DEFAULT_SPACE, ROOT
from search.space.prior import Prior
from search.space.space import parse_space, read_space

#: All but the one from which others are derived: tests/search/plan/test_derived_space.py.
SPACES = sorted(path for path in (ROOT / "spaces").glob("*.toml") if path.name != DEFAULT_SPACE)

GOOD = """
[study]
dataset = "MELD"
features = "open"
[fixed]
modals = "ld"
[space.lr]
type = "float"
low = 1e-4
high = 1e-2
log = true
[space.use_gumbel]
type = "choice"
values = [true, false]
[space.gumbel_k]
type = "choice"
values = [1, 4]
when = { use_gumbel = true }
[space.dropout]
type = "float"
low = 0.0
high = 0.6
step = 0.1
[[start]]
lr = 1e-3
use_gumbel = true
gumbel_k = 4
dropout = 0.3
[budget.cpu]
trials = 5
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "space.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("[space.lr]", "[space.learning_rate]", "learning_rate"),
        ("low = 1e-4", "low = 1e-1", "[space.lr]"),
        ("low = 1e-4", "low = 0.0", "lr"),
        ("high = 1e-2", "high = 5.0", "[space.lr].high"),
        ("high = 1e-2", 'high = "much"', "[space.lr].high"),
        ("log = true", "log = true\nstep = 0.1", "[space.lr].step"),
        ("log = true", "logarithmic = true", "logarithmic"),
        ("step = 0.1", "step = 0.25", "[space.dropout].step"),
        ("values = [1, 4]", "values = []", "[space.gumbel_k].values"),
        ("values = [1, 4]", "values = [1, 4, 4]", "[space.gumbel_k].values"),
        ("values = [1, 4]", "values = [1, 4.5]", "[space.gumbel_k].values"),
        ("when = { use_gumbel = true }", "when = { dropout = 0.3 }", "[space.gumbel_k].when"),
        ("when = { use_gumbel = true }", "when = { gumbel = true }", "[space.gumbel_k].when"),
        ("when = { use_gumbel = true }", "when = { use_gumbel = 3 }", "[space.gumbel_k].when"),
        (
            "log = true",
            "log = true\nprior = 0.02",
            "[space.lr].prior: 0.02 is not within 0.0001 to 0.01 (log)",
        ),
        ("log = true", 'log = true\nprior = "much"', "[space.lr].prior: lr = 'much' is not a number"),
        ("log = true", "log = true\nprior = nan", "[space.lr].prior: lr = nan is not a finite number"),
        ("log = true", 'log = true\nconfidence = "low"', "[space.lr].confidence: there is no prior"),
        (
            "log = true",
            'log = true\nprior = 1e-3\nconfidence = "sure"',
            "[space.lr].confidence: 'sure' is not one of low, medium, high",
        ),
        ("log = true", "log = true\nprior = 1e-3\nconfidence = 3", "[space.lr].confidence: 3 is not one of"),
        ("log = true", "log = true\nprior = [1e-3]", "[space.lr].prior: lr = [0.001] is not a number"),
        ("step = 0.1", "step = 0.1\nprior = 0.25", "[space.dropout].prior: 0.25 is not within"),
        ("values = [1, 4]", "values = [1, 4]\nprior = 2", "[space.gumbel_k].prior: 2 is not within 1, 4"),
        (
            "values = [1, 4]",
            "values = [1, 4]\nprior = true",
            "[space.gumbel_k].prior: gumbel_k = True",
        ),
        ("[true, false]", "[true, false]\nprior = 1", "[space.use_gumbel].prior: use_gumbel = 1 is not"),
        ('modals = "ld"', 'modals = "ld"\nlr = 1e-3', "[space.lr]"),
        ('modals = "ld"', 'modals = "ll"', "modals"),
        ('modals = "ld"', 'modals = ["text", 3]', "modals"),
        ('modals = "ld"', "seed = 3", "seed"),
        ("[space.dropout]\ntype", "[space.seed]\ntype", "seed"),
        ("[space.dropout]\ntype", "[space.epochs]\ntype", "epochs"),
        ("lr = 1e-3", "lr = 1.0", "[[start]] 1: lr"),
        ("gumbel_k = 4\n", "", "[[start]] 1: gumbel_k"),
        ("use_gumbel = true\ngumbel_k = 4", "use_gumbel = false\ngumbel_k = 4", "[[start]] 1: gumbel_k"),
        ("dropout = 0.3", "dropout = 0.3\ntau = 0.2", "tau"),
        ("step = 0.1", "step = nan", "[space.dropout].step: is not a number above 0"),
        ("step = 0.1", "step = 1e-320", "[space.dropout].step: steps of"),
        ("step = 0.1", f"step = {10**400}", "[space.dropout].step: steps of"),
        ("high = 0.6", f"high = {10**400}", "[space.dropout].high: dropout = inf is not a finite number"),
        ('type = "choice"', 'type = ["choice"]', "[space.use_gumbel]: needs type"),
        ("[budget.cpu]", '[scheduler]\nname = ["asha"]\n[budget.cpu]', "[scheduler] name"),
        ("trials = 5", f"minutes = {10**400}", "[budget.cpu] minutes"),
        ("trials = 5", "trials = 0", "[budget.cpu] trials"),
        ("trials = 5", "hours = 5", "[budget.cpu] hours"),
        ("[budget.cpu]", '[scheduler]\nname = "fast"\n[budget.cpu]', "[scheduler] name"),
        (
            "[budget.cpu]",
            '[scheduler]\nname = "median"\nreduction = 2\n[budget.cpu]',
            "[scheduler] reduction",
        ),
        (
            "[budget.cpu]",
            '[scheduler]\nname = "asha"\ninterval = 2\n[budget.cpu]',
            "[scheduler] interval: unknown key for scheduler 'asha'; it takes grace, reduction",
        ),
        (
            "[budget.cpu]",
            '[scheduler]\nname = "none"\ngrace = 2\n[budget.cpu]',
            "[scheduler] grace: unknown key for scheduler 'none'; it takes no options",
        ),
        ("[budget.cpu]", "[weather]\nrain = 1\n[budget.cpu]", "[weather]"),
        (
            'dataset = "MELD"',
            'dataset = "Emory NLP"',
            "[study] dataset: 'Emory NLP' is not a name of a dataset",
        ),
        ('dataset = "MELD"', "", "[study] dataset"),
        ("[study]", "[study", "not valid TOML"),
    ],
)
def test_a_mistake_is_named_by_file_and_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        read_space(path)
    assert key in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["meld", "Meld", "MELD"])
def test_a_dataset_is_named_in_any_case(tmp_path: Path, text: str) -> None:
    assert read_space(written(tmp_path, GOOD.replace("MELD", text))).dataset == "MELD"


def test_modalities_are_named_by_letters_or_lists(tmp_path: Path) -> None:
    searched = '[space.modals]\ntype = "choice"\nvalues = [["text", "face"], "vl", ["face"]]\n[space.lr]'
    text = GOOD.replace('modals = "ld"\n', "").replace("[space.lr]", searched)
    space = read_space(written(tmp_path, text.replace("[[start]]", '[[start]]\nmodals = ["face", "l"]')))
    assert space.parameters["modals"].values == ("text,face", "lv", "face")
    assert space.starts[0]["modals"] == "text,face"
    assert space.config(space.starts[0], seed=0).modalities == ("l", "face")


def test_a_conditional_parameter_exists_only_under_its_condition(tmp_path: Path) -> None:
    space = read_space(written(tmp_path, GOOD))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    drawn = [space.suggest(study.ask()) for _ in range(40)]
    assert {params["use_gumbel"] for params in drawn} == {True, False}
    for params in drawn:
        assert ("gumbel_k" in params) == params["use_gumbel"]
        config = space.config(params, seed=7)
        assert config.seed == 7
        assert config.gumbel_k == params.get("gumbel_k", RIGSLConfig().gumbel_k)


def test_equal_content_has_an_equal_hash(tmp_path: Path) -> None:
    first = read_space(written(tmp_path, GOOD)).content_hash
    assert read_space(written(tmp_path, "# a comment\n" + GOOD)).content_hash == first
    assert read_space(written(tmp_path, GOOD.replace("1e-2", "2e-2"))).content_hash != first


def test_a_byte_order_mark_is_no_part_of_a_space(tmp_path: Path) -> None:
    plain = read_space(written(tmp_path, GOOD))
    (tmp_path / "space.toml").write_text(GOOD, encoding="utf-8-sig")
    assert read_space(tmp_path / "space.toml") == plain


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_the_spaces_of_the_project_are_sound(path: Path) -> None:
    space = read_space(path)
    assert space.starts, "the first start point is the baseline"
    assert set(space.budgets) == {"cpu", "gpu"}


def test_the_published_meld_configuration_is_the_first_trial_of_the_official_space() -> None:
    space = read_space(ROOT / "spaces" / "meld.toml")
    config = space.config(space.starts[0], seed=44751)
    # The command says windowp = windowf = 10, which the official code never reads: it links all pairs.
    published = RIGSLConfig(
        modals="avl", hidden_dim=512, norm="None", base_model="GRU", batch_size=16, class_weight="inverse",
        denoise_dropout=0.0, dropout=0.4, epochs=40, gamma=-0.95, zeta=1.05, gumbel_k=4, l2=3e-5,
        link_loss_coff=0.1, link_loss_epoch=10, lr=1e-4, nb_features_dim=64, nodeformer_dropout=0.3,
        nodeformer_heads=8, num_K=3, num_L=2, penalty_weight_coff=5e-4, seed=44751, tau=0.4, temperature=1.0,
        use_gumbel=True, use_residue=True, use_residue_denoise=True, use_residue_nodeformer=True,
        use_jk_nodeformer=False, windowp=-1, windowf=-1, focal_gamma=0.5,
    )  # fmt: skip
    assert config == published


def test_priors_are_what_is_believed_about_parameters(tmp_path: Path) -> None:
    plain = read_space(written(tmp_path, GOOD))
    assert {parameter.prior for parameter in plain.parameters.values()} == {None}
    text = GOOD.replace("log = true", 'log = true\nprior = 1e-3\nconfidence = "high"')
    text = text.replace("values = [1, 4]", "values = [1, 4]\nprior = 4")  # exists under a condition
    text = text.replace("step = 0.1", 'step = 0.1\nprior = 0\nconfidence = "medium"')
    space = read_space(written(tmp_path, text))
    priors = {name: parameter.prior for name, parameter in space.parameters.items() if parameter.prior}
    assert priors == {"lr": Prior(1e-3, "high"), "gumbel_k": Prior(4, "low"), "dropout": Prior(0.0, "medium")}
    assert [prior.describe() for prior in priors.values()] == ["0.001 (high)", "4 (low)", "0 (medium)"]
    assert space.content_hash != plain.content_hash
    again = parse_space(space.text, space.path)
    assert again == space


def test_modalities_have_a_prior_like_other_choices(tmp_path: Path) -> None:
    searched = '[space.modals]\ntype = "choice"\nvalues = [["text", "face"], "vl"]\nprior = "lv"\n[space.lr]'
    text = GOOD.replace('modals = "ld"\n', "").replace("[space.lr]", searched)
    space = read_space(written(tmp_path, text.replace("[[start]]", '[[start]]\nmodals = "lv"')))
    assert space.parameters["modals"].prior == Prior("lv")
