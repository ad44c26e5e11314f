"""One configuration: checked at the door, equal to what its TOML says."""

import dataclasses

import pytest

from rigsl.config import FIELDS, RIGSLConfig, allowed, from_mapping, from_toml
from rigsl.errors import UserError


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("tau", "high", "tau = 'high' is not a number"),
        ("tau", 0.0, "tau = 0.0 is outside 0.001 to 100"),
        ("tau", float("nan"), "not a finite number"),
        ("lr", 0, "lr = 0.0 is outside above 0 to 1"),
        ("tau", 10**400, "tau = inf is not a finite number"),
        ("tau", -(10**400), "tau = -inf is not a finite number"),
        ("windowp", 2**64, "windowp = 18446744073709551616 is too large"),
        ("batch_size", 10**400, "is too large; no whole number may be above 2147483647"),
        ("num_K", True, "num_K = True is not a whole number"),
        ("num_K", 1.5, "num_K = 1.5 is not a whole number"),
        ("use_gumbel", 1, "use_gumbel = 1 is not true or false"),
        ("backbone", "GNN", "backbone = 'GNN' is not one of"),
        ("modals", "", "not a non-empty subset"),
        ("modals", "ll", "not a non-empty subset"),
        ("modals", "text,l", "not a non-empty subset"),
        ("modals", [], "not a non-empty subset"),
        ("modals", "face,face", "not a non-empty subset"),
        ("modals", "my face", "'my face' is not a modality: it is not a name of at most 64 letters"),
        ("modals", "lavL", "'lavL' is not a modality: it is made of the letters that stand for"),
        ("modals", ["text", 3], "is neither a text nor a list of names"),
        ("modals", 3, "modals = 3 is neither a text nor a list of names"),
        ("hidden_dim", 7, "hidden_dim = 7 is odd"),
        ("num_k", 3, "'num_k' is not a hyperparameter"),
    ],
)
def test_a_bad_value_is_refused_by_name(name, value, says):
    with pytest.raises(UserError, match=r"^here: ") as error:
        from_mapping({name: value}, "here")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_something_must_be_left_to_fuse():
    RIGSLConfig(use_cgs=False, use_igr=False, use_residue=True)
    with pytest.raises(UserError, match="at least one must be true"):
        RIGSLConfig(use_cgs=False, use_igr=False, use_residue=False)


def test_modalities_take_the_order_of_the_nodes():
    assert RIGSLConfig(modals="vald").modals == "lavd"


@pytest.mark.parametrize(
    ("given", "stored", "keys"),
    [
        ("pulse,face,text", "text,face,pulse", ("l", "face", "pulse")),
        (["pulse", "face", "l"], "text,face,pulse", ("l", "face", "pulse")),
        ("la, pulse", "text,audio,pulse", ("l", "a", "pulse")),
        (("Audio", "text"), "la", ("l", "a")),
        ("face", "face", ("face",)),
        (["lav"], "lav", ("l", "a", "v")),
    ],
)
def test_modalities_have_any_names_and_letters_stand_for_four(given, stored, keys, tmp_path):
    config = from_mapping({"modals": given}, "here")
    assert (config.modals, config.modalities) == (stored, keys)
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml())
    assert from_toml(path) == config


def test_configurations_of_letters_keep_their_hash():
    """Numbers of version 0.1.0: trials, checkpoints and reruns are found by them."""
    assert RIGSLConfig().content_hash() == "c41ee8ee01c2"
    for modals in ("ld", "dl", "text,delivery", ["delivery", "text"]):
        config = from_mapping({"modals": modals, "lr": 1e-3, "hidden_dim": 64}, "here")
        assert config.content_hash() == "c0f3c70c2fd2"


def test_toml_and_back(tmp_path):
    config = RIGSLConfig(tau=0.3, use_gumbel=False, norm="LN2", modals="ld", lr=1, seed=7)
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml() + '\n[data]\nname = "anything"\n')
    assert from_toml(path) == config


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(RIGSLConfig(tau=0.3).to_toml(), encoding="utf-8-sig")
    assert from_toml(path) == RIGSLConfig(tau=0.3)


@pytest.mark.parametrize(
    "text",
    ["tau = ", "tau = " + "[" * 100_000, "seed = " + "9" * 5_000, "\0", "[a]\n[a]\n"],
    ids=["no value", "deep", "number", "NUL", "twice"],
)
def test_every_damage_of_toml_is_one_sentence(text, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"config\.toml: is not valid TOML \(") as error:
        from_toml(path)
    assert "\n" not in str(error.value)


def test_damaged_toml_is_named(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("tau = ")
    with pytest.raises(UserError, match=r"config\.toml: is not valid TOML"):
        from_toml(path)
    with pytest.raises(UserError, match="cannot be read"):
        from_toml(tmp_path / "missing.toml")


def test_every_hyperparameter_changes_the_hash():
    base = RIGSLConfig(modals="l")
    changed = {
        "modals": "ld",
        "norm": "LN",
        "base_model": "LSTM",
        "class_weight": "none",
        "precision": "bf16",
    }
    hashes = {base.content_hash()}
    for name, spec in FIELDS.items():
        value = getattr(base, name)
        if isinstance(value, bool):
            value = not value
        elif isinstance(value, str):
            value = changed.get(name) or next(c for c in spec.metadata["choices"] if c != value)
        elif isinstance(value, int):
            value += 2
        else:
            value = 0.5 if value == 0 else value * 0.99
        hashes.add(dataclasses.replace(base, **{name: value}).content_hash())
    assert len(hashes) == len(FIELDS) + 1


def test_equal_configurations_hash_alike():
    assert RIGSLConfig(tau=1).content_hash() == RIGSLConfig(tau=1.0).content_hash()


def test_bounds_in_words():
    assert allowed("dropout") == "0 to 0.95"
    assert allowed("epochs") == "1 or more"
    assert allowed("base_model") == "'GRU' or 'LSTM'"
