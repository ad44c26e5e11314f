"""No code of an encoder's folder runs: one sentence names the file that asks for it."""

from __future__ import annotations

import importlib.util
import json
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rigsl.cli.main import main
from rigsl.data.open.encoder_files import check_encoder
from tests.helpers.commands import refusal
from tests.helpers.transcripts import write_csvs

TYPE = "sentence_transformers.models."
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": TYPE + "Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": TYPE + "Pooling"},
    {"idx": 2, "name": "2", "path": "2_Dense", "type": TYPE + "Dense"},
]
INDEX = "model.safetensors.index.json"


class Planted:
    """Code that a pickle runs when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def write(path: Path, content: Any) -> None:
    """A JSON file, and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A folder that looks like an encoder, with code in it that leaves a mark when it runs."""
    folder = tmp_path / "encoder"
    write(folder / "modules.json", MODULES)
    write(folder / "config.json", {"model_type": "bert", "_name_or_path": "org/bert", "auto_map": {}})
    write(folder / "data_config.json", [{"name": "a.jsonl.gz"}])
    write(folder / "sentence_bert_config.json", {"max_seq_length": 8, "model_args": {}})
    write(folder / "2_Dense" / "config.json", {"activation_function": "torch.nn.modules.activation.Tanh"})
    for name in ("model.safetensors", "2_Dense/model.safetensors"):
        (folder / name).write_bytes(b"")
    mark = tmp_path / "mark"
    (folder / "modeling_evil.py").write_text(
        f"open({str(mark)!r}, 'w')\nclass Evil: pass\n", encoding="utf-8"
    )
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Planted(mark)))
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(pickle.dumps(Planted(mark)))
    return folder


@pytest.fixture
def trusting_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that trusts a folder, as sentence-transformers did before 6.0, and reads its pickles."""

    def load(folder: str, **_: Any) -> None:
        for path in Path(folder).rglob("*.py"):
            exec(path.read_text(encoding="utf-8"), {})
        for path in Path(folder).rglob("*.bin"):
            pickle.loads(path.read_bytes())

    library, logging = ModuleType("sentence_transformers"), ModuleType("transformers.utils.logging")
    vars(library)["SentenceTransformer"] = load
    vars(logging)["disable_progress_bar"] = lambda: None
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    monkeypatch.setitem(sys.modules, "transformers.utils.logging", logging)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)


def test_settings_and_safetensors_are_an_encoder(encoder: Path) -> None:
    check_encoder(encoder)
    (encoder / "model.safetensors").unlink()
    write(encoder / INDEX, {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})
    check_encoder(encoder)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("modules.json", [{"path": "", "type": "modeling_evil.Evil"}], "names the module modeling_evil.Evil"),
        ("modules.json", [{"path": "", "type": TYPE + "WordEmbeddings"}], "none of sentence-transformers'"),
        ("modules.json", [{"path": "", "type": "sentence_transformers.util.os.Pool"}], "names the module"),
        ("modules.json", [{"path": "../other", "type": TYPE + "Pooling"}], "names the folder ../other"),
        ("modules.json", [{"path": "/other", "type": TYPE + "Pooling"}], "names the folder /other"),
        ("modules.json", ["modeling_evil.Evil"], "names the module None"),
        ("modules.json", {"type": "modeling_evil.Evil"}, "is damaged"),
        ("config.json", {"auto_map": {"AutoModel": "modeling_evil.Evil"}}, "auto_map names code"),
        ("config.json", {"text": {"auto_map": {"AutoModel": "o/r--m.C"}}}, "auto_map names code"),
        ("config.json", {"attn_implementation": "owner/kernel"}, "attn_implementation names code"),
        ("config.json", {"_attn_implementation": {"": "owner/kernel:f"}}, "_attn_implementation names code"),
        ("config.json", {"transformers_weights": "adapter_model.bin"}, "names other weights"),
        ("tokenizer_config.json", {"auto_map": ["modeling_evil.Evil", None]}, "auto_map names code"),
        ("adapter_config.json", {"base_model_name_or_path": "owner/name"}, "names files outside"),
        ("sentence_bert_config.json", {"model_args": {"trust_remote_code": True}}, "model_args changes"),
        ("sentence_bert_config.json", {"tokenizer_name_or_path": "owner/name"}, "names files outside"),
        ("2_Dense/config.json", {"activation_function": "modeling_evil.Evil"}, "is none of torch.nn"),
        ("2_Dense/config.json", {"activation_function": "torch.hub.load"}, "is none of torch.nn"),
        ("model.safetensors", None, "holds pytorch_model.bin, but no model.safetensors"),
        ("2_Dense/model.safetensors", None, "holds pytorch_model.bin, but no model.safetensors"),
        (
            INDEX,
            {"weight_map": {"a": "pytorch_model.bin"}},
            "names pytorch_model.bin, which is no safetensors",
        ),
        (INDEX, {"weight_map": {"a": "../model.safetensors"}}, "names ../model.safetensors"),
        (INDEX, {}, "names None"),
    ],
)
@pytest.mark.usefixtures("trusting_library")
def test_a_hostile_folder_is_one_sentence_and_none_of_its_code_runs(
    encoder: Path, file: str, content: Any, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csvs(tmp_path)
    if content is None:
        (encoder / file).unlink()
    else:
        write(encoder / file, content)
    if file == INDEX:
        (encoder / "model.safetensors").unlink()
    command = ["build-features", "--no-finetune", "--csv", str(tmp_path), "--encoder", str(encoder)]
    shown = refusal(main, [*command, "--out", str(tmp_path / "out.safetensors")], capsys)
    assert says in shown
    assert str(encoder / (Path(file).parent if content is None else file)) in shown
    assert not (tmp_path / "mark").exists()
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="the library is not installed (pip install -e '.[features]')",
)
def test_the_library_runs_no_code_of_a_folder_either(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csvs(tmp_path)
    command = ["build-features", "--no-finetune", "--csv", str(tmp_path), "--encoder", str(encoder)]
    shown = refusal(main, [*command, "--out", str(tmp_path / "out.safetensors")], capsys)
    assert "is not an encoder that can be loaded" in shown
    assert not (tmp_path / "mark").exists()
