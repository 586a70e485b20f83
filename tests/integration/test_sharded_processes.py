"""Two processes that share the weights of a model leave what one leaves that has them all."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from tests.commands.test_fit import without_dropout
from tests.conftest import write_reviews
from tests.integration.offline_run import checkpoint, fit, history, only_run, record, same
from tests.integration.test_several_processes import TOLERANCE, curve, fit_words, succeed

pytestmark = pytest.mark.slow

SHARDED = ("--trainer.strategy", "fsdp2")
# Full fine-tuning, in which every layer's weights travel; clipped, accumulated and checkpointed, so that each is met.
FULL = (
    *("--config", "configs/full.yaml", "--config", "configs/offline.yaml", "--model.learning_rate", "1e-4"),
    *("--trainer.gradient_clip_val", "0.1", "--trainer.accumulate_grad_batches", "2"),
)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded backbone without dropout: two processes would draw other masks than one."""
    return without_dropout(tmp_path_factory.mktemp("backbones") / "still")


def words_of(method: str, reviews: Path, backbone: str, root: Path, processes: int) -> list[str]:
    words = fit_words(reviews, backbone, root, processes)
    if method == "lora":
        return words
    dropped = {"--model.method.lora_dropout", "--model.learning_rate"}
    kept = [pair for pair in zip(words[5::2], words[6::2], strict=True) if pair[0] not in dropped]
    return ["fit", *FULL, *(word for pair in kept for word in pair)]


@pytest.fixture(scope="module", params=["lora", "full"])
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, backbone: str) -> tuple[Path, Path]:
    """The run of one process, and that of two that share the weights."""
    folder = tmp_path_factory.mktemp("sharded")
    reviews = write_reviews(folder / "reviews")
    one = words_of(request.param, reviews, backbone, folder / "one", 1)
    two = words_of(request.param, reviews, backbone, folder / "two", 2)
    succeed(folder, *one)
    checkpointed = ("--model.gradient_checkpointing", "true") if request.param == "full" else ()
    succeed(folder, *two, *SHARDED, *checkpointed)
    return only_run(folder / "one"), only_run(folder / "two")


def test_metrics_losses_and_counts_are_those_of_one_process(runs: tuple[Path, Path]) -> None:
    one, two = map(record, runs)
    assert two["metrics"] == pytest.approx(one["metrics"], abs=TOLERANCE)
    assert curve(runs[1]) == pytest.approx(curve(runs[0]), abs=TOLERANCE)
    for section in ("dataset", "params", "backbone", "status", "predictions"):
        assert two[section] == one[section], section
    assert [note for note in two["notes"] if "sharded" in note]
    assert two["environment"]["device"].startswith("2 × ")


def test_each_process_holds_half_of_everything(runs: tuple[Path, Path]) -> None:
    one, two = (record(run)["memory"] for run in runs)
    for part in ("weights_gib", "gradients_gib", "optimizer_gib"):
        # A head of odd rows, and buffers, which every process has.
        assert two[part] == pytest.approx(one[part] / 2, rel=1e-3), part


def test_every_test_row_is_answered_once_as_by_one_process(runs: tuple[Path, Path]) -> None:
    one, two = (pq.read_table(path / "predictions.parquet").to_pydict() for path in runs)
    assert len(two["index"]) == 15
    for name in ("index", "label"):
        assert two[name] == one[name]
    assert two["probability_1"] == pytest.approx(one["probability_1"], abs=TOLERANCE)


def test_checkpoints_are_those_of_one_process(runs: tuple[Path, Path]) -> None:
    one, two = (checkpoint(path / "checkpoints/last.ckpt") for path in runs)
    assert list(one["state_dict"]) == list(two["state_dict"])
    for name, weight in one["state_dict"].items():
        assert torch.allclose(weight, two["state_dict"][name], atol=TOLERANCE), name
    moments = [content["optimizer_states"][0] for content in (one, two)]
    assert moments[0]["param_groups"] == moments[1]["param_groups"]
    for number, state in moments[0]["state"].items():
        for name, value in state.items():
            assert torch.allclose(value, moments[1]["state"][number][name], atol=TOLERANCE), (number, name)


@pytest.mark.parametrize("more", [(), ("--trainer.strategy", "auto", "--trainer.devices", "1")])
def test_weights_load_on_as_many_devices_and_on_one(runs: tuple[Path, Path], more: tuple[str, ...]) -> None:
    before = set(runs[1].glob("test_*"))
    words = ("test", "--config", str(runs[1] / "config.yaml"), "--ckpt_path", "best", *more)
    done = succeed(runs[1].parent, *words)
    assert done.out.count("written to") == 1
    (folder,) = set(runs[1].glob("test_*")) - before
    assert pq.read_table(folder / "predictions.parquet").num_rows == 15
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    expected = {name: value for name, value in record(runs[1])["metrics"].items() if name.startswith("test/")}
    assert metrics == pytest.approx(expected, abs=TOLERANCE)


def test_predict_answers_each_line_once_and_in_order(runs: tuple[Path, Path], tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("a warm film\nthe cast is a bore\nevery scene earns its place, said viewer 3\n")
    words = ("predict", "--ckpt_path", "best", "--data.predict_file", str(texts), "--config")
    answers = []
    for run in runs:
        lines = succeed(tmp_path, *words, str(run / "config.yaml")).out.splitlines()
        answers.append([json.loads(line)["probabilities"]["1"] for line in lines])
    assert len(answers[1]) == 3
    assert answers[1] == pytest.approx(answers[0], abs=TOLERANCE)


def test_fewer_rows_than_processes_and_uneven_ones(backbone: str, tmp_path: Path) -> None:
    # The head's two rows lie in two of three processes, and no layer's rows divide by three.
    reviews = write_reviews(tmp_path / "reviews")
    states = []
    for processes, more in ((1, ()), (3, SHARDED)):
        root = tmp_path / str(processes)
        words = words_of("full", reviews, backbone, root, processes)
        succeed(tmp_path, *words, "--data.batch_size", str(15 // processes), *more)
        states.append(checkpoint(only_run(root) / "checkpoints/last.ckpt")["state_dict"])
    for name, weight in states[0].items():
        assert torch.allclose(weight, states[1][name], atol=TOLERANCE), name
    one, three = (only_run(tmp_path / name) / "checkpoints/best.ckpt" for name in "13")
    assert three.stat().st_size == pytest.approx(one.stat().st_size, rel=1e-3)


def test_two_processes_that_are_killed_resume_to_the_same_weights(tmp_path: Path) -> None:
    # With dropout: each process goes on with the generator that it had.
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    killed.mkdir()
    two = ("--trainer.devices", "2", "--data.batch_size", "4", "--model.learning_rate", "1e-3", *SHARDED)
    assert fit("lora", alone, *two).code == 0
    assert fit("lora", killed, *two, die_at="in_step:3").code == -9
    resumed = fit("lora", killed, *two, resume=True)
    assert resumed.code == 0, resumed.err
    states = [checkpoint(only_run(root) / "checkpoints/last.ckpt") for root in (alone, killed)]
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert same(*(state[part] for state in states)), part
    assert history(only_run(alone)) == history(only_run(killed))
