"""Exports of real runs, loaded in fresh processes: by the proof, and by plain scripts in an environment without us."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from peft_lightning.__main__ import main
from peft_lightning.errors import UserError
from peft_lightning.export.exporting import finish, read_run, write
from peft_lightning.export.proof import prove
from peft_lightning.export.request import Request
from peft_lightning.export.saved_answers import read_saved_answers
from peft_lightning.export.written import Written
from peft_lightning.runs.predictions import read_answers
from tests.export.conftest import Trained

pytestmark = pytest.mark.slow
OFFLINE = ("--config", "configs/offline.yaml")
THREE = ("--model.class_names", "[schlecht, gut]")


def proved(run: Path, folder: Path, request: Request) -> dict[str, Any]:
    """An export that is written and proved without the command's own checks."""
    folder.mkdir()
    record, config = read_run(run)
    saved = read_saved_answers(run, record, config)
    written: Written = write(run, folder, request)
    with TemporaryDirectory() as scratch:
        (proof,) = prove([(written, saved)], Path(scratch))
    return finish(written, proof, record, config, folder.name, on_hub=False)


@pytest.fixture
def without_us(tmp_path: Path) -> Path:
    """A Python that finds every library and nothing of this project, installed or not."""
    environment = tmp_path / "without_us"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    installed = Path(sysconfig.get_paths()["purelib"])
    folders = [Path(place) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    for source in [*(folder for folder in folders if not (folder / "peft_lightning").is_dir()), installed]:
        for path in source.iterdir():
            # A .pth or a finder would lead back to the source tree.
            if "peft_lightning" not in path.name and path.suffix != ".pth" and not (packages / path.name).exists():
                (packages / path.name).symlink_to(path)
    return environment / "bin" / "python"


def as_a_user(python: Path, card: Path, texts: list[Any], cwd: Path) -> list[str]:
    """The labels that a plain script gives which holds the code blocks of the card, and nothing of ours."""
    blocks = re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.DOTALL)
    script = "\n".join(
        [
            "import json, sys",
            "try:\n    import peft_lightning\nexcept ImportError:\n    pass\nelse:\n    sys.exit('it is there')",
            f"texts = json.loads({json.dumps(json.dumps(texts))})",
            *(["firsts, seconds = map(list, zip(*texts))"] if not isinstance(texts[0], str) else []),
            *blocks,
            "if 'session' in globals():",
            "    feed = {given.name: inputs[given.name] for given in session.get_inputs()}",
            "    numbers = session.run(None, feed)[0].argmax(-1).tolist()",
            "    names = {int(k): v for k, v in json.load(open(f'{folder}/config.json'))['id2label'].items()}",
            "else:",
            "    numbers = model.eval()(**inputs).logits.argmax(-1).tolist()",
            "    names = model.config.id2label",
            "print(json.dumps([names[number] for number in numbers]))",
        ]
    )
    (cwd / "script.py").write_text(script, encoding="utf-8")
    # -I: neither PYTHONPATH nor the working directory.
    done = subprocess.run([str(python), "-I", "script.py"], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    labels: list[str] = json.loads(done.stdout.splitlines()[-1])
    return labels


def test_the_cards_own_lines_give_the_runs_labels_where_nothing_of_ours_is_installed(
    trained: Trained, without_us: Path
) -> None:
    run = trained(*THREE)
    main(["export", str(run), "--to", "mine"])
    report = json.loads(Path("mine/export.json").read_text())
    assert report["proved"] is True
    assert (report["examples"], report["flips"], report["max_flips"]) == (16, 0, 0)
    assert report["before"] == report["after"]
    assert report["greatest_change"] < 1e-5
    assert sorted(path.name for path in Path().glob("mine*")) == ["mine"]
    adapter = json.loads(Path("mine/adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == "base"
    assert adapter["modules_to_save"].count("classifier") == 1
    config = json.loads(Path("mine/config.json").read_text())
    assert config["id2label"] == {"0": "schlecht", "1": "gut"}
    assert config["problem_type"] == "single_label_classification"

    main(["export", str(run), "--to", "whole", "--format", "merged"])
    record, settings = read_run(run)
    saved = read_saved_answers(run, record, settings)
    wanted = [("schlecht", "gut")[answer] for answer in saved.answers.answers.argmax(-1)]
    for folder in ("mine", "whole"):
        assert as_a_user(without_us, Path(folder, "README.md"), saved.texts, Path.cwd()) == wanted


def test_onnx_gives_the_runs_labels_where_nothing_of_ours_is_installed(trained: Trained, without_us: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra peft-lightning[onnx] is not installed")
    run = trained()
    report = proved(run, Path("onnx"), Request("onnx"))
    assert report["failure"] is None
    assert report["greatest_change"] < 1e-5
    assert set(report["files"]) >= {"model.onnx", "config.json", "tokenizer.json"}
    assert not any(name.startswith("model.onnx.") for name in report["files"])
    record, settings = read_run(run)
    saved = read_saved_answers(run, record, settings)
    labels = as_a_user(without_us, Path("onnx/README.md"), saved.texts, Path.cwd())
    assert labels == [str(answer) for answer in saved.answers.answers.argmax(-1)]


@pytest.mark.parametrize(
    "more",
    [
        ("--config", "configs/qlora.yaml", *OFFLINE),
        ("--model.quantization", "int8"),
        ("--config", "configs/qlora.yaml", *OFFLINE, "--config", "configs/lean.yaml"),
        ("--data.truncation", "tail"),
    ],
    ids=["qlora", "int8", "embeddings in four bits", "tail"],
)
def test_adapters_of_quantised_backbones_and_other_cuts_give_the_runs_answers(
    more: tuple[str, ...], trained: Trained
) -> None:
    report = proved(trained(*more), Path("mine"), Request("adapter"))
    assert report["failure"] is None
    assert report["greatest_change"] < (5e-2 if "lean" in str(more) or "int8" in more else 1e-3)


@pytest.mark.parametrize("bits", ["int8", "nf4"])
def test_few_bits_say_what_they_cost(bits: Any, trained: Trained) -> None:
    report = proved(trained(), Path("mine"), Request("merged", quantize=bits))
    assert report["failure"] is None
    assert report["greatest_change"] > 1e-4
    assert report["flips_interval"][1] > 0
    config = json.loads(Path("mine/config.json").read_text())
    assert config["quantization_config"]["llm_int8_skip_modules"] == ["classifier"]
    whole = proved(trained_again(Path()), Path("floats"), Request("merged"))
    assert report["bytes"] < whole["bytes"]


def trained_again(place: Path) -> Path:
    """The run that lies in a folder."""
    (run,) = place.glob("lightning_logs/*/version_*")
    return run


def test_an_export_that_gives_other_answers_is_kept_aside_and_ends_with_2(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A head that is lost in saving, as `modules_to_save` forgotten would lose it."""
    from peft_lightning.methods import LoRA

    save = LoRA.save_adapter

    def losing_the_head(self: LoRA, model: Any, folder: Path, untrained: Any) -> None:
        save(self, model, folder, untrained)
        weights = load_file(folder / "adapter_model.safetensors")
        zeroed = {name: value * ("classifier" not in name) for name, value in weights.items()}
        save_file(zeroed, folder / "adapter_model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(LoRA, "save_adapter", losing_the_head)
    run = trained()
    with pytest.raises(SystemExit) as ended:
        main(["export", str(run), "--to", "mine"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "the export is not proved" in error
    assert "it is kept in mine.failed" in error
    assert error.count("\n") == 1
    assert not Path("mine").exists()
    report = json.loads(Path("mine.failed/export.json").read_text())
    assert report["proved"] is False
    assert "## Not proved" in Path("mine.failed/README.md").read_text()
    if report["flips"]:
        main(["export", str(run), "--to", "mine", "--max_flips", str(report["flips"])])
        assert json.loads(Path("mine/export.json").read_text())["max_flips"] == report["flips"]


def test_auto_peft_loads_it_in_its_own_folder(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft import AutoPeftModelForSequenceClassification
    from transformers import AutoTokenizer

    run = trained()
    write(run, _made("mine"), Request("adapter"))
    record, settings = read_run(run)
    saved = read_saved_answers(run, record, settings)
    monkeypatch.chdir("mine")
    model = AutoPeftModelForSequenceClassification.from_pretrained(".").eval()
    inputs = AutoTokenizer.from_pretrained(".")(saved.texts[:4], padding=True, truncation=True, return_tensors="pt")
    answers = model(**inputs).logits.softmax(-1).detach().numpy()
    assert np.abs(answers - saved.answers.answers[:4]).max() < 1e-2


def test_a_local_backbone_is_named_or_copied_as_asked(trained: Trained, still_backbone: str, tmp_path: Path) -> None:
    from peft_lightning.backbone.locations import EMBEDDED_FOLDER

    backbone = tmp_path / "backbone"
    subprocess.run(["cp", "-r", str(EMBEDDED_FOLDER), str(backbone)], check=True)
    run = trained("--model.model_name_or_path", str(backbone))
    named = write(run, _made("named"), Request("adapter"))
    assert json.loads(Path("named/adapter_config.json").read_text())["base_model_name_or_path"] == str(backbone)
    assert not Path("named/base").exists()
    assert "--with_base" in named.notes[0]
    write(run, _made("beside"), Request("adapter", with_base=True))
    assert json.loads(Path("beside/adapter_config.json").read_text())["base_model_name_or_path"] == "base"
    assert (Path("beside/base/model.safetensors")).read_bytes() == (backbone / "model.safetensors").read_bytes()


def test_answers_of_the_run_are_left_alone(trained: Trained) -> None:
    run = trained()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError):
        write(run, _made("mine"), Request("merged", quantize="int8", dtype=None, with_base=True))
    write(run, _made("other"), Request("merged"))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    read_answers(run / "predictions.parquet")


def _made(name: str) -> Path:
    folder = Path(name)
    folder.mkdir()
    return folder
