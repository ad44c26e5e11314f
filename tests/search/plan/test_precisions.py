"""A precision that the workers' devices are not made for is refused or left out, unless the user insists."""

from pathlib import Path

import pytest
from rich.console import Console

import run_search
from rigsl.errors import UserError
from search.plan import checks, precisions
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.plan.plan import Plan
from search.record import record
from search.resources.workers import Node
from search.run_folder import SPACE
from search.space.space import read_space
from search.study import write_folder
from search.terminal.summary import print_plan
from tests.helpers.toy_study import edited

SLOW = "this processor has no bfloat16 instructions: a product takes 36 times as long as in float32"
SEARCHED = '[space.precision]\ntype = "choice"\nvalues = ["fp32", "bf16"]\n\n[space.lr]'
START = '[[start]]\nprecision = "bf16"\n'


@pytest.fixture(autouse=True)
def processor(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A processor that is not made for bfloat16; to be changed by a test."""
    reasons = {"bf16": SLOW}
    monkeypatch.setattr(precisions, "unsuited", lambda device, name: reasons.get(name, ""))
    return reasons


def fixed(home: Path, value: str = "bf16") -> Path:
    return edited(home, ("[fixed]", f'[fixed]\nprecision = "{value}"'))


def searched(home: Path, values: str = '["fp32", "bf16"]') -> Path:
    return edited(home, ("[space.lr]", SEARCHED.replace('["fp32", "bf16"]', values)), ("[[start]]\n", START))


def plan_of(home: Path, **more) -> Plan:
    return prepare(SearchOptions(data_dir=home / "data", trials=None if "resume" in more else 3, **more))


def begin(plan: Plan) -> None:
    plan.folder.mkdir(parents=True)
    write_folder(plan, record.open_record(plan.folder, plan.name))


def floats_line(plan: Plan, capsys: pytest.CaptureFixture) -> list[str]:
    print_plan(plan, Console(soft_wrap=True))
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("floats")]


def test_bfloat16_on_such_a_processor_is_refused_and_nothing_is_written(
    home: Path, capsys: pytest.CaptureFixture
) -> None:
    path = fixed(home)
    assert run_search.main(["--space", str(path), "--data-dir", "data", "--trials", "3"]) == 2
    assert capsys.readouterr().err == (
        f"error: {path}: [fixed] precision = 'bf16': {SLOW}; take 'fp32', or give --force\n"
    )
    assert not (home / "runs").exists()


def test_force_takes_it_and_the_plan_says_what_it_costs(home: Path, capsys: pytest.CaptureFixture) -> None:
    plan = plan_of(home, space=fixed(home), force=True)
    assert plan.space.fixed["precision"] == "bf16"
    assert floats_line(plan, capsys) == [f"floats  bf16, as --force says; bf16: {SLOW}"]


def test_a_space_that_searches_precision_drops_the_value_and_says_so_once(
    home: Path, capsys: pytest.CaptureFixture
) -> None:
    path = searched(home)
    plan = plan_of(home, space=path, study="one")
    assert plan.space.parameters["precision"].values == ("fp32",)
    assert plan.space.starts[0]["precision"] == "fp32"
    assert floats_line(plan, capsys) == [f"floats  fp32, without bf16: {SLOW}; --force searches bf16, too"]
    begin(plan)
    assert read_space(plan.folder / SPACE).parameters == plan.space.parameters
    assert plan_of(home, space=path, force=True).space.parameters["precision"].values == ("fp32", "bf16")


def test_a_resume_elsewhere_searches_what_the_study_searched(
    home: Path, processor: dict[str, str], capsys: pytest.CaptureFixture
) -> None:
    path = searched(home)
    begin(plan_of(home, space=path, study="one"))
    processor.clear()
    resumed = plan_of(home, resume="one")
    assert resumed.space.parameters["precision"].values == ("fp32",)
    assert floats_line(resumed, capsys) == []
    assert plan_of(home, resume="one", space=path).widened_from == "one", "the value can be added"


def test_a_study_with_bfloat16_is_not_resumed_on_such_a_processor_unless_forced(
    home: Path, processor: dict[str, str]
) -> None:
    processor.clear()
    begin(plan_of(home, space=searched(home), study="one"))
    processor["bf16"] = SLOW
    with pytest.raises(UserError) as refused:
        plan_of(home, resume="one")
    assert str(refused.value) == (
        f"{home / 'runs' / 'one' / SPACE}: [space.precision] precision = 'bf16': {SLOW}; resume it on "
        "another machine, or give --force"
    )
    assert plan_of(home, resume="one", force=True).space.parameters["precision"].values == ("fp32", "bf16")


def test_a_forced_study_is_resumed_without_being_forced_again(home: Path) -> None:
    begin(plan_of(home, space=fixed(home), study="one", force=True))
    assert plan_of(home, resume="one").precision_remark.startswith("bf16, as --force says")


def test_a_choice_of_which_nothing_would_be_left_is_refused(home: Path, processor: dict[str, str]) -> None:
    processor["tf32"] = "T4 has no TF32 units"
    with pytest.raises(UserError, match=r"\[space.precision\] precision = 'bf16' or 'tf32': this .*; T4 has"):
        plan_of(home, space=searched(home, '["bf16", "tf32"]'))


def test_a_usual_space_asks_nothing_and_says_nothing(home: Path, capsys: pytest.CaptureFixture) -> None:
    assert floats_line(plan_of(home, space=home / "space.toml"), capsys) == []


def test_a_precision_that_suits_is_in_the_plan(home: Path, capsys: pytest.CaptureFixture) -> None:
    assert floats_line(plan_of(home, space=fixed(home, "tf32")), capsys) == ["floats  tf32"]


def test_on_a_cluster_the_nodes_that_run_trials_are_asked(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    cpu, gpu = {("cpu", "bf16"): SLOW}, {("cpu", "bf16"): SLOW, ("cuda", "bf16"): "T4 has none"}
    nodes = [Node("a", 4), Node("b", 4, unsuited=cpu), Node("c", 4, gpus=1), Node("d", 4, 1, unsuited=gpu)]

    def read_nodes(address: str, runs_dir: Path, names: list[str]) -> tuple[Node, ...]:
        asked.append(names)
        return tuple(nodes)

    monkeypatch.setattr(checks, "read_nodes", read_nodes)
    path = searched(home)
    on_cpu = plan_of(home, space=path, ray_address="auto", device="cpu")
    assert asked == [["bf16"]]
    assert on_cpu.precision_remark.startswith(f"fp32, without bf16: on node b, {SLOW};")
    on_gpu = plan_of(home, space=path, ray_address="auto", device="cuda")
    assert on_gpu.precision_remark.startswith("fp32, without bf16: on node d, T4 has none;")
    nodes.pop()
    on_gpu = plan_of(home, space=path, ray_address="auto", device="cuda")
    assert on_gpu.precision_remark == "fp32 or bf16"
