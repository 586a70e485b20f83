"""What a user can get wrong ends in one line that names the thing and the mend, exit code 2, and loses nothing."""

import io
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from peft_lightning.__main__ import main
from peft_lightning.commands.fit import Fit
from peft_lightning.module.classifier import TextClassifier
from tests.integration.offline_run import SOURCES
from tests.samples import sampled

# A strategy that is Lightning's alone.
ANOTHER = ("--trainer.strategy", "single_device", "--trainer.devices", "1")


def refusal(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """Runs the program, checks that it ends as a user's mistake ends, and returns its one line."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    complaint = capfd.readouterr().err
    assert "Traceback" not in complaint
    lines = [line for line in complaint.splitlines() if line.startswith("peft_lightning: error: ")]
    assert len(lines) == 1, complaint
    assert complaint.splitlines()[-1] == lines[0]
    return lines[0].removeprefix("peft_lightning: error: ")


def runs() -> list[Path]:
    """The run directories in the working directory."""
    return sorted(Path().glob("lightning_logs/*/version_*"))


@pytest.mark.parametrize(
    ("extra", "words"),
    sampled(
        [
            (["--model.learning_rat", "1"], ["no --model.learning_rat:", "did you mean --model.learning_rate?"]),
            (["--data.truncation", "middle"], ["--data.truncation middle: it takes one of head, tail, head_tail"]),
            (["--trainer.precision", "8"], ["--trainer.precision 8: it takes one of", "bf16-mixed"]),
            (["--engine", "graph", *ANOTHER], ["--engine graph is for --trainer.strategy auto or ddp"]),
            (
                ["--memory_limit_gib", "2", *ANOTHER],
                ["--memory_limit_gib 2 is for --trainer.strategy auto or ddp"],
            ),
            (["--engine", "fast"], ["--engine fast: it takes one of auto, eager, graph, compiled"]),
            (["--model.method.rank", "4"], ["LoRA has no rank: it takes r, lora_alpha"]),
            (["configs/offline.yaml"], ["belongs to no option", "--config configs/offline.yaml"]),
            (
                ["--model.method=LoRa"],
                ["--model.method LoRa: it takes a method by its class", "QLoRA", "a recipe goes with --method"],
            ),
            (["--model.method", "torch.nn.Linear"], ["--model.method torch.nn.Linear: it takes a method", "IA3"]),
            (["--model.method.r", "many"], ["--model.method.r many: it takes a whole number"]),
            (["--early_stopping.patience", "0"], ["--early_stopping.patience 0: it takes a whole number above 0"]),
            (["--memory_limit_gib", "-4"], ["--memory_limit_gib -4: it takes a number above 0 or null"]),
            (["--early_stopping.min_delta", "-1"], ["--early_stopping.min_delta -1: it takes a number of at least 0"]),
            (["--data.n_train", "few"], ["--data.n_train few: it takes a whole number or null"]),
            (["--model.learning_rate", "-1"], ["learning_rate", "above 0"]),
            (["--data.n_train", "60"], ["n_train", "60", "64"]),
            (["--data.n_test", "33"], ["n_test", "33", "32"]),
            (["--data.text_column", "body"], ["body", "text", "label"]),
            (["--data.source", "nowhere/at/all"], ["nowhere/at/all"]),
            (["--model.model_name_or_path", "~no-such-user/model"], ["~no-such-user/model: no such folder"]),
            (["--data.configuration", "sst2"], ["has no configurations: leave out --data.configuration"]),
            (["--data.test_split", "dev"], ["no split 'dev' (it has test, train)", "--data.test_split"]),
            (["--data.quoting", "some"], ["--data.quoting some: it takes one of auto, minimal, none"]),
            (["--data.deduplicate", "often"], ["--data.deduplicate often: it takes true or false"]),
            (["--model.model_name_or_path", "."], ["."]),
            (["--model.method.target_modules", "[nonsense]"], ["nonsense", "query"]),
            (["--model.backbone_dtype", "bfloat16"], ["backbone_dtype", "32-true", "--trainer.precision bf16-mixed"]),
            (
                ["--model.backbone_dtype", "smallest", "--trainer.precision", "bf16-true"],
                ["backbone_dtype", "bf16-true", "--trainer.precision bf16-mixed"],
            ),
            (["--model.class_names", "[a, b, c]"], ["class_names", "3", "2"]),
            (["--trainer.accelerator", "tpu"], ["--trainer", "torch_xla"]),
            (["--data.max_length", "600"], ["max_length", "600", "512"]),
            (["--trainer.devices", "some"], ["--trainer", "devices"]),
            (["--trainer.accumulate_grad_batches", "0"], ["accumulate_grad_batches", "0", "at least 1"]),
            (["--trainer.log_every_n_steps", "0"], ["log_every_n_steps", "at least 1"]),
            (["--trainer.gradient_clip_val", "-1"], ["gradient_clip_val", "-1"]),
            (["--trainer.check_val_every_n_epoch", "0"], ["check_val_every_n_epoch", "0", "at least 1"]),
            (["--trainer.accelerator", "gpu"], ["trainer.accelerator gpu", "use --trainer.accelerator cpu"]),
            (["--trainer.strategy", "deepspeed"], ["trainer.strategy deepspeed", "--trainer.strategy fsdp2"]),
            (["--trainer.profiler", "nonsense"], ["`profiler`", "simple"]),
            (
                ["--trainer.callbacks", "EarlyStoping"],
                ["--trainer.callbacks EarlyStoping", "did you mean EarlyStopping?"],
            ),
            (["--trainer.callbacks", "nowhere.Nothing"], ["--trainer.callbacks: nowhere.Nothing", "No module named"]),
            (["--trainer.callbacks", "pathlib.Path"], ["--trainer.callbacks pathlib.Path: that is no Callback"]),
            (
                ["--trainer.callbacks", "[5]"],
                ["--trainer.callbacks [5]: it takes a Callback by its class, such as Early"],
            ),
            (
                ["--trainer.callbacks", "EarlyStopping"],
                ["EarlyStopping needs monitor: say --trainer.callbacks.monitor"],
            ),
            (
                ["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitr=val/loss"],
                ["EarlyStopping has no monitr"],
            ),
            (
                ["--trainer.callbacks", "[{class_path: EarlyStopping, init_args: {monitor: a, patience: many}}]"],
                ["--trainer.callbacks.patience many: EarlyStopping takes a whole number"],
            ),
            (
                ["--trainer.callbacks", "[{class_path: LearningRateMonitor, init_args: {logging_interval: minute}}]"],
                ["--trainer.callbacks.logging_interval minute: LearningRateMonitor takes one of step, epoch or null"],
            ),
            (
                ["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=a", "--trainer.callbacks.mode=up"],
                ["--trainer.callbacks: EarlyStopping cannot be made (`mode` can be min, max, got up)", "--debug"],
            ),
            (["--trainer.callbacks", "[{monitor: a}]"], ["monitor belongs to no class: name the Callback"]),
            (["--trainer.logger", "Nonsense"], ["--trainer.logger Nonsense", "there is no Logger", "CSVLogger"]),
            (
                ["--trainer.logger", "CometLogger"],
                ["--trainer.logger: CometLogger needs what is not installed", "comet"],
            ),
            (["--trainer.val_check_interval", "100"], ["val_check_interval is 100 batches, and an epoch has 4"]),
            (["--model.adam_beta1", "2"], ["adam_beta1", "below 1"]),
            (["--model.adam_epsilon", "-1"], ["adam_epsilon", "above 0"]),
            (["--model.class_names", "[a, a]"], ["class_names", "twice"]),
            (["--seed_everything", "-1"], ["--seed_everything", "-1"]),
            (["--config", "configs/lorra.yaml"], ["configs/lorra.yaml", "configs/lora.yaml"]),
            (["--ckpt_path", "last"], ["last", "no unfinished run"]),
            (["--ckpt_path", "nowhere.ckpt"], ["nowhere.ckpt"]),
        ],
        every=3,
    ),
)
def test_a_mistake_in_the_settings(
    extra: list[str], words: list[str], tiny_fit: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    line = refusal([*tiny_fit, *extra], capfd)
    for word in words:
        assert word in line
    # What was a flag is not looked for in files.
    assert "or the flags" not in line
    assert runs() == []


LOHA = "{peft_type: LOHA, r: 4}"
PROMPTS = "{peft_type: PROMPT_TUNING, num_virtual_tokens: 4}"


@pytest.mark.parametrize(
    ("extra", "words"),
    sampled(
        [
            (
                ["--model.method", "PEFT", "--model.method.config", LOHA, "--model.quantization", "nf4"],
                ["LOHA cannot be put beside layers in nf4 (", "LORA"],
            ),
            (["--model.method=FullFineTuning", "--model.quantization=int8"], ["cannot train weights in int8"]),
            (["--model.method=QLoRA", "--model.quantization=nf4"], ["qlora quantises the backbone itself"]),
            (["--model.method.bias=all", "--model.quantization=nf4"], ["use --model.method.bias none"]),
            (["--model.method=QLoRA", "--model.quantize_on=gpu"], ["use --model.quantize_on cpu"]),
            (["--model.backbone_dtype", "bfloat16"], ["use --trainer.precision bf16-mixed"]),
            (
                ["--model.method=FullFineTuning", "--model.backbone_dtype=bfloat16", "--trainer.precision=bf16-mixed"],
                [
                    "--model.backbone_dtype bfloat16: full",
                    "adamw",
                    "use --model.backbone_dtype float32, or --model.optimizer paged_adamw_8bit",
                ],
            ),
            (
                ["--model.method", "PEFT", "--model.method.config", PROMPTS, "--model.gradient_checkpointing", "true"],
                ["PROMPT_TUNING gets no gradient", "use --model.gradient_checkpointing false"],
            ),
            (
                ["--model.method=FullFineTuning", "--trainer.precision=bf16-true"],
                ["bf16-true: full trains weights in bf16", "use --trainer.precision bf16-mixed, or --model.opt"],
            ),
        ],
        every=3,
    ),
)
def test_what_a_method_cannot_train_is_said_before_data_are_read(
    extra: list[str], words: list[str], tiny_fit: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    line = refusal([*tiny_fit, "--data.source", "nowhere/at/all", *extra], capfd)
    for word in words:
        assert word in line
    assert runs() == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="PEFT's extension may be built beside a GPU")
def test_factors_that_peft_cannot_build_here_are_refused_before_data_are_read(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    boft = "{peft_type: BOFT, boft_block_size: 4, boft_n_butterfly_factor: 2}"
    words = ["--data.source", "nowhere/at/all", "--model.method", "PEFT", "--model.method.config", boft]
    line = refusal([*tiny_fit, *words], capfd)
    assert line.startswith("2 butterfly factors need PEFT's CUDA extension")
    assert line.endswith("use --model.method.config.boft_n_butterfly_factor 1")
    assert runs() == []


def test_a_mistake_in_a_file_names_the_file(tiny_fit: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("data: {truncation: middle}\n")
    line = refusal([*tiny_fit, "--config", "mine.yaml"], capfd)
    assert "--data.truncation middle: it takes one of head, tail, head_tail, windows (in " in line
    assert "mine.yaml" in line


def test_an_overlay_alone_names_the_recipes(capfd: pytest.CaptureFixture[str]) -> None:
    assert refusal(["fit", "--config", "configs/offline.yaml"], capfd).startswith("no method: name a recipe")


def test_another_python_than_the_environment_s_is_said() -> None:
    command = [sys.executable, "-S", "-m", "peft_lightning", "fit", "--config", "configs/lora.yaml"]
    ended = subprocess.run(command, env={"PYTHONPATH": str(SOURCES)}, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ". .venv/bin/activate" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_an_unknown_key_in_a_file(tiny_fit: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("data: {n_trian: 5}\n")
    line = refusal([*tiny_fit, "--config", "mine.yaml"], capfd)
    assert line.startswith("there is no --data.n_trian: did you mean --data.n_train? (in ")
    assert "mine.yaml" in line


@pytest.mark.parametrize("section", ["trainer", "data", "model", "checkpoint"])
def test_a_section_that_holds_no_settings(section: str, tiny_fit: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(f"{section}: [5]\n")
    line = refusal([*tiny_fit, "--config", "mine.yaml"], capfd)
    assert line.startswith(f"mine.yaml: {section} is [5]: it holds settings")


FAILING = """
from lightning.pytorch import Callback

class Fails(Callback):
    def __init__(self, at: int) -> None:
        self.at = at

    def on_train_batch_end(self, trainer, *args) -> None:
        if trainer.global_step == self.at or self.at == 0:
            raise KeyError("name")

    def on_fit_start(self, *args) -> None:
        if self.at == 0:
            raise ValueError("nothing\\nto start with")
"""


@pytest.mark.slow
def test_a_callback_that_fails_is_named_before_training_and_shows_its_own_traceback_in_it(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("failing.py").write_text(FAILING)
    monkeypatch.syspath_prepend(os.getcwd())
    words = [*tiny_fit, "--trainer.callbacks=failing.Fails"]
    line = refusal([*words, "--trainer.callbacks.at=0"], capfd)
    assert line.startswith("--trainer.callbacks: Fails fails in on_fit_start (nothing to start with)")
    assert line.endswith("(--debug shows the traceback)")
    (run,) = runs()
    record = json.loads((run / "results.json").read_text())
    assert (record["status"], record["error"]) == ("failed", line)
    # What its author has to mend is shown.
    with pytest.raises(KeyError, match="name"):
        main([*words, "--trainer.callbacks.at=2"])


@pytest.mark.slow
def test_an_installed_class_that_fails_late_is_named_too(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    words = ["--trainer.profiler=SimpleProfiler", "--trainer.profiler.dirpath=file/x", "--trainer.profiler.filename=y"]
    line = refusal([*tiny_fit, *words], capfd)
    assert line.startswith("--trainer.profiler: SimpleProfiler fails in ")


def test_a_bug_of_our_own_shows_its_traceback_though_a_user_s_class_called_it(
    tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(TextClassifier, "training_step", broken)
    with pytest.raises(ZeroDivisionError, match="ours"):
        main([*tiny_fit, "--trainer.profiler", "simple"])


@pytest.mark.parametrize("words", [["fitt"], ["fit"], ["test", "--config", "configs/lora.yaml"], ["predict"]])
def test_a_command_that_says_too_little(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    line = refusal(words, capfd)
    assert any(hint in line for hint in ("fit, validate, test, predict", "--config", "--ckpt_path"))


def test_a_word_of_no_setting_names_the_command_whose_help_has_them(capfd: pytest.CaptureFixture[str]) -> None:
    line = refusal(["predict", "--config", "configs/lora.yaml", "--qqqqqqqqqqqqqqqq"], capfd)
    assert line == "there is no --qqqqqqqqqqqqqqqq: predict --help lists the settings"


def damage(reviews: Path, what: str) -> None:
    """Makes the training file, or the test file, of a folder of reviews bad."""
    train, test = reviews / "train.jsonl", reviews / "test.jsonl"
    if what == "empty file":
        train.write_text("")
    if what == "missing column":
        train.write_text('{"text": "good", "stars": 3}\n')
    if what == "one class":
        train.write_text("".join(json.dumps({"text": f"good {n}", "label": 1}) + "\n" for n in range(64)))
    if what == "unseen label":
        test.write_text(test.read_text() + json.dumps({"text": "so-so", "label": 7}) + "\n")
    if what == "not UTF-8":
        train.write_bytes(train.read_bytes() + b'{"text": "caf\xe9", "label": 1}\n')


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("empty file", ["train.jsonl", "empty"]),
        ("missing column", ["train.jsonl", "label", "stars"]),
        ("one class", ["one class"]),
        ("unseen label", ["7"]),
        ("not UTF-8", ["train.jsonl", "UTF-8"]),
    ],
)
def test_a_mistake_in_the_data(
    what: str, words: list[str], tiny_fit: list[str], reviews: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(reviews, what)
    line = refusal(tiny_fit, capfd)
    for word in words:
        assert word in line
    assert runs() == []


def test_a_hub_that_cannot_be_reached(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: Any, **kwargs: Any) -> NoReturn:
        raise AssertionError(f"a request was attempted: {args}")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    for setting in (["--model.model_name_or_path", "roberta-base"], ["--data.source", "imdb"]):
        line = refusal([*tiny_fit, *setting], capfd)
        assert setting[1] in line
        assert "configs/offline.yaml" in line


def flipped(checkpoint: bytes) -> bytes:
    """A checkpoint in which one bit of its largest tensor is another."""
    with zipfile.ZipFile(io.BytesIO(checkpoint)) as archive:
        largest = max(archive.infolist(), key=lambda record: record.file_size)
    place = checkpoint.index(largest.filename.encode()) + 4096
    return checkpoint[:place] + bytes([checkpoint[place] ^ 1]) + checkpoint[place + 1 :]


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran.txt").absolute(),)


@pytest.mark.slow
def test_a_checkpoint_that_is_none_of_ours(
    tiny_fit: list[str], trained_once: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    trained_once()
    (run,) = runs()
    good = (run / "checkpoints/best.ckpt").read_bytes()
    Path("short.ckpt").write_bytes(good[: len(good) // 2])
    Path("damaged.ckpt").write_bytes(good[:2000] + bytes(64) + good[2064:])
    Path("pickle.ckpt").write_bytes(pickle.dumps(Payload()))
    torch.save({"peft_lightning": Payload()}, "posing.ckpt")
    torch.save({"state_dict": {}}, "foreign.ckpt")
    torch.save({"state_dict": {}, "global_step": 0, "peft_lightning": 1}, "odd.ckpt")
    # One bit of a weight: nothing but a checksum can tell.
    Path("flipped.ckpt").write_bytes(flipped(good))
    before = (run / "results.json").read_bytes()
    for name in ("short", "damaged", "pickle", "posing", "foreign", "odd", "flipped"):
        line = refusal(["test", "--config", f"{run}/config.yaml", "--ckpt_path", f"{name}.ckpt"], capfd)
        assert f"{name}.ckpt" in line
    assert not Path("ran.txt").exists()
    assert (run / "results.json").read_bytes() == before
    assert list(run.glob("test_*")) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (["--model.method.lora_alpha", "8"], "lora_alpha"),
        pytest.param(["--model.method.r", "4"], "r", marks=pytest.mark.slow),
        pytest.param(["--model.method", "IA3"], "ia3", marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_of_another_method(
    change: list[str],
    word: str,
    tiny_fit: list[str],
    trained_once: Callable[..., None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    trained_once()
    (run,) = runs()
    checkpoint = str(run / "checkpoints/best.ckpt")
    line = refusal(["test", *tiny_fit[1:], *change, "--ckpt_path", checkpoint], capfd)
    assert word in line
    assert "config.yaml of its run" in line


def test_a_checkpoint_of_another_backbone(
    tiny_fit: list[str], trained_once: Callable[..., None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from peft_lightning.backbone.locations import locate

    other = tmp_path / "other"
    shutil.copytree(locate("embedded"), other)
    from safetensors.torch import load_file, save_file

    weights = load_file(other / "model.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name] + 1}, other / "model.safetensors", metadata={"format": "pt"})
    trained_once()
    (run,) = runs()
    words = ["test", "--config", f"{run}/config.yaml", "--ckpt_path", "best", "--model.model_name_or_path", str(other)]
    line = refusal(words, capfd)
    assert "backbone" in line
    assert str(other) in line


def test_weights_cannot_be_trained_on_from(
    tiny_fit: list[str], trained_once: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    trained_once()
    (run,) = runs()
    line = refusal([*tiny_fit, "--ckpt_path", str(run / "checkpoints/best.ckpt")], capfd)
    assert "last.ckpt" in line
    assert runs() == [run]


def test_a_place_that_cannot_be_written_is_found_before_data_are_read(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fit, "set_up_data", lambda *arguments: pytest.fail("data are read"))
    Path("file").write_text("not a folder")
    line = refusal([*tiny_fit, "--trainer.default_root_dir", "file/inside"], capfd)
    assert "file/inside" in line
    assert "--trainer.default_root_dir" in line


@pytest.mark.slow
def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    # One epoch of steps that hardly move, then a learning rate that no weight survives.
    Path("exploding.py").write_text(
        "from lightning.pytorch import Callback\n"
        "class Explode(Callback):\n"
        "    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):\n"
        "        if trainer.global_step == 6:\n"
        "            for p in pl_module.parameters():\n"
        "                p.data.fill_(float('nan'))\n"
    )
    sys.path.insert(0, os.getcwd())
    try:
        words = [*tiny_fit, "--trainer.max_epochs", "2"]
        words += ["--checkpoint.every_n_steps", "1", "--checkpoint.max_time_share", "1"]
        line = refusal([*words, "--trainer.callbacks+=exploding.Explode"], capfd)
    finally:
        sys.path.remove(os.getcwd())
    assert "NaN" in line
    assert "--model.learning_rate" in line
    (run,) = runs()
    kept = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert kept["global_step"] == 6
    assert all(bool(torch.isfinite(value).all()) for value in kept["state_dict"].values())
    record = json.loads((run / "results.json").read_text())
    assert record["status"] == "failed"
    assert "NaN" in record["error"]
    assert record["error"] == line  # a comparison shows its user this one


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount the small file system that is to fill up")
def test_a_full_disk_keeps_the_last_good_checkpoint(tiny_fit: list[str], tmp_path: Path) -> None:
    main(tiny_fit)
    (run,) = runs()
    best, last = ((run / f"checkpoints/{name}.ckpt").stat().st_size for name in ("best", "last"))
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={best + last + last // 2}", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("this machine lets nobody mount a file system")
    try:
        # The first checkpoint fits, and the best one beside it; what is to replace the first does not.
        words = [*tiny_fit, "--trainer.default_root_dir", str(disk)]
        words += ["--checkpoint.every_n_steps", "2", "--checkpoint.max_time_share", "1"]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        program = [sys.executable, "-m", "peft_lightning", *words]
        ended = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 2, ended.stderr
        assert ended.stderr.splitlines()[-1].startswith("peft_lightning: error: no space left")
        assert "Traceback" not in ended.stderr
        (run,) = disk.glob("lightning_logs/lora/version_*")
        assert not list(run.rglob("*.partial"))
        torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
