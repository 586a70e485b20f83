"""Pretraining: never a test review, a folder that loads, a run that goes on where it was cut off."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from peft_lightning.data.embedded import load_split

SCRIPT = Path(__file__).parents[2] / "scripts" / "pretrain_backbone.py"
POISON = "xylocarpous"
TINY = [
    *("--layers", "1", "--hidden", "32", "--vocab", "600", "--batch", "8", "--seq", "32", "--lr", "5e-3"),
    *("--steps", "200", "--precision", "32-true", "--accelerator", "cpu", "--checkpoint-seconds", "0.2"),
]


def write_reviews(path: Path, texts: list[str], label: int = 0) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": texts, "label": [label] * len(texts)}), path)


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as users have it, the test reviews among the rest and impossible to read."""
    folder = tmp_path_factory.mktemp("imdb")
    texts = [f"{text}<br /><br />The end." for text in load_split("train", 150)[0]]
    write_reviews(folder / "train.parquet", texts[:100])
    write_reviews(folder / "unsupervised.parquet", texts[100:], label=-1)
    # A pipe that nobody writes to: whoever opens it waits for ever.
    os.mkfifo(folder / "test.parquet")
    return folder


QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


# The script, killed after so many steps: from without, a fast machine would be done before anybody looked.
KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
import pretrain_backbone
from pretraining.budget import Budget

def killing(self, trainer, *others):
    if trainer.global_step == 100:
        os.kill(os.getpid(), signal.SIGKILL)
    counted(self, trainer, *others)

counted, Budget.on_train_batch_end = Budget.on_train_batch_end, killing
pretrain_backbone.main()
"""


def command(reviews: Path, out: Path) -> list[str]:
    return [
        sys.executable,
        str(SCRIPT),
        "--reviews",
        str(reviews),
        "--out",
        str(out),
        "--run",
        f"{out}-run",
        *TINY,
    ]


@pytest.fixture(scope="module")
def pretrained(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrained") / "backbone"
    done = subprocess.run(command(reviews, out), capture_output=True, text=True, timeout=1000, check=False, env=QUIET)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def test_only_training_and_unlabelled_reviews_are_opened(reviews: Path, tmp_path: Path) -> None:
    """Every file that is opened in the folder, as the interpreter itself reports it."""
    listener = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "from pathlib import Path; from pretraining.reviews import read_reviews\n"
        f"read = read_reviews(Path({str(reviews)!r}))\n"
        f"print(sorted(p for p in set(opened) if p.startswith({str(reviews)!r})), read.files)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", listener],
        capture_output=True,
        text=True,
        timeout=1000,
        cwd=SCRIPT.parent,
        check=True,
    )
    allowed = [str(reviews / "train.parquet"), str(reviews / "unsupervised.parquet")]
    assert done.stdout.strip() == f"{allowed} {{'train.parquet': 100, 'unsupervised.parquet': 50}}"


def test_nothing_but_the_reading_module_knows_how_to_read_reviews() -> None:
    sources = [SCRIPT, *SCRIPT.parent.joinpath("pretraining").glob("*.py")]
    assert len(sources) >= 9
    readers = [p.name for p in sources if re.search(r"pyarrow|pandas|datasets\b", p.read_text(encoding="utf-8"))]
    assert readers == ["reviews.py"]


def test_a_poisoned_test_file_leaves_no_trace(tmp_path: Path) -> None:
    from pretraining.reviews import read_reviews

    write_reviews(tmp_path / "train.parquet", ["One plain review."])
    before = read_reviews(tmp_path)
    write_reviews(tmp_path / "test.parquet", [POISON] * 50)
    assert read_reviews(tmp_path) == before
    assert POISON not in " ".join(before.texts)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [("test.parquet", ["a"], "train.parquet"), ("train.parquet", [], "holds no review")],
)
def test_without_training_reviews_one_line(
    name: str, content: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pretrain_backbone

    write_reviews(tmp_path / name, content)
    argv = ["--reviews", str(tmp_path), "--out", str(tmp_path / "out"), "--run", str(tmp_path / "run")]
    assert pretrain_backbone.main(argv) == 2
    error = capsys.readouterr().err.strip()
    assert says in error
    assert "\n" not in error


def packed(reviews: list[list[int]], **settings: Any) -> Any:
    import numpy as np

    from pretraining.bpe import EOS
    from pretraining.packing import ReviewBatches

    tokens = np.concatenate([[*review, EOS] for review in reviews]).astype(np.uint16)
    return ReviewBatches(tokens, **{"seq": 12, "batch": 8, "long_every": 3, "seed": 7, **settings})


def numbered_reviews(count: int = 120) -> list[list[int]]:
    """Reviews of 3 to 40 tokens; no token stands twice."""
    lengths = [3 + 7 * n % 38 for n in range(count)]
    starts = [10 + sum(lengths[:n]) for n in range(count)]
    return [list(range(start, start + length)) for start, length in zip(starts, lengths, strict=True)]


def test_a_row_is_one_review_from_its_start_and_a_step_is_a_function_of_its_number() -> None:
    from pretraining.bpe import BOS, EOS

    reviews = numbered_reviews()
    owner = {token: number for number, review in enumerate(reviews) for token in review}
    batches = packed(reviews)
    longest = 0
    for step in range(3 * batches.steps_per_epoch):
        batch = batches.rows(step)
        assert batch.tokens.shape == (96,)
        begins = [int(b) for b in batch.boundaries if b < 96]
        assert begins[0] == 0
        assert batch.boundaries[-1] == 96
        for begin, end in zip(begins, [*begins[1:], 96], strict=True):
            row, inside = batch.tokens[begin:end].tolist(), batch.review[begin:end]
            longest = max(longest, len(row))
            assert len(inside.unique()) == 1
            content = [token for token in row if token not in (BOS, EOS)]
            assert len({owner[token] for token in content}) <= 1, "two reviews in one row"
            assert content == list(range(content[0], content[0] + len(content))) if content else True
            if begin:
                assert row[0] == BOS
            if row[0] == BOS:
                assert batch.positions[begin:end].tolist() == list(range(2, 2 + len(row)))
    assert longest == 24, "every third epoch has longer rows"
    again = packed(reviews)
    step = 2 * batches.steps_per_epoch - 1
    assert torch.equal(again.rows(step).tokens, batches.rows(step).tokens)
    assert not torch.equal(again.rows(0).tokens, again.rows(batches.steps_per_epoch).tokens)


def test_an_epoch_shows_no_token_twice_and_nearly_all_of_them() -> None:
    batches = packed(numbered_reviews(400), seq=32, batch=4, long_every=0)
    total = int(batches._lengths.sum())
    for epoch in range(2):
        steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
        shown = torch.cat([batches.rows(step).tokens for step in steps])
        shown = shown[shown >= 10]
        assert len(shown.unique()) == len(shown)
        assert len(shown) > 0.8 * total


def test_attention_stays_within_a_review() -> None:
    """The hidden states of a review do not change with what else is in the batch, nor with transformers' own path."""
    from pretraining.masked_lm import MaskedLanguageModel, roberta_config

    batches = packed(numbered_reviews(), seed=3)
    torch.manual_seed(1)
    network = MaskedLanguageModel(roberta_config(4000, 32, 2), data=batches).eval()
    batch = batches.rows(0)
    begin, end = (int(batch.boundaries[n]) for n in (1, 2))
    roberta = network.model.roberta
    together = roberta(
        input_ids=batch.tokens[None],
        position_ids=batch.positions[None],
        boundaries=batch.boundaries,
        longest=batches.longest,
    ).last_hidden_state[0, begin:end]
    network.model.set_attn_implementation("eager")
    alone = roberta(input_ids=batch.tokens[None, begin:end]).last_hidden_state[0]
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: a CUDA graph")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_captured_step_has_the_gradients_of_a_launched_one_while_weights_change(compiled: bool) -> None:
    from pretraining.captured import CapturedLoss
    from pretraining.masked_lm import MaskedLanguageModel, roberta_config
    from pretraining.masks import draw_masks

    device = torch.device("cuda")
    batches = packed(numbered_reviews(), seq=32, batch=16, device=device)
    torch.manual_seed(1)
    network = MaskedLanguageModel(
        roberta_config(4000, 64, 2), data=batches, bag_weight=0.2, mean_weight=0.5, compiled=compiled
    )
    network.to(device)
    captured = CapturedLoss(network._total, network.parameters())
    for step in range(4):
        batch = batches.rows(step)
        hidden = draw_masks(batch.tokens, 0.2, 4.0, 4000, torch.Generator(device).manual_seed(step))
        with torch.autocast("cuda", torch.bfloat16):
            network.zero_grad()
            launched = network._total(*batch, *hidden)
            launched[0].backward()
            expected = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
            replayed = captured(*batch, *hidden)
        assert torch.allclose(torch.stack(launched), torch.stack(replayed), rtol=2e-3)
        whole = torch.stack([wanted.norm() for wanted in expected]).norm()
        for wanted, (name, parameter) in zip(expected, network.named_parameters(), strict=True):
            assert parameter.grad is not None
            # A key's bias has no gradient but rounding errors: measured against the whole.
            assert (parameter.grad - wanted).norm() <= 2e-2 * wanted.norm() + 1e-3 * whole, name
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))


def test_masks_hide_spans_of_what_is_asked_for_and_never_a_special_token() -> None:
    from pretraining.bpe import BOS, EOS, MASK
    from pretraining.masks import draw_masks

    tokens = torch.randint(5, 400, (6400,))
    tokens[::100], tokens[99::100] = BOS, EOS
    runs = {}
    for span in (1.0, 4.0):
        shown, positions, targets = draw_masks(tokens, 0.2, span, 400, torch.Generator().manual_seed(1))
        assert positions.shape == targets.shape == (1280,)
        assert torch.equal(tokens[positions], targets)
        assert (shown[::100] == BOS).all()
        assert (shown[99::100] == EOS).all()
        assert 0.75 < (shown == MASK).sum() / 1280 < 0.85
        assert (shown != tokens).sum() <= 1280
        chosen = torch.zeros(len(tokens) + 1)
        chosen[positions] = 1
        runs[span] = 1280 / float((chosen.diff() == 1).sum() + chosen[0])
    assert runs[1.0] == pytest.approx(1.25, abs=0.1), "token by token: neighbours by chance alone"
    assert 4.0 < runs[4.0] < 6.0


def test_the_first_token_learns_the_words_of_its_own_review() -> None:
    from pretraining.bag_of_words import BagOfWords, word_weights

    batch = packed(numbered_reviews(), seed=3).rows(0)
    weights = word_weights(torch.bincount(batch.tokens, minlength=4000) + 1, 0.35)
    assert (weights[:5] == 0).all()
    assert weights[batch.tokens.max() + 1] > weights[batch.tokens[3]]
    torch.manual_seed(1)
    bag = BagOfWords(16, weights)
    embeddings = torch.randn(4000, 16)
    hidden = torch.randn(len(batch.tokens), 16, requires_grad=True)
    loss = bag(hidden, batch, embeddings)
    assert 5.0 < loss.item() < 20.0
    loss.backward()
    assert hidden.grad is not None
    touched = set(hidden.grad.abs().sum(1).nonzero().flatten().tolist())
    rows = {int(b) for b in batch.boundaries if b < len(batch.tokens)}
    assert touched <= rows, "only the first token of a review answers for its words"
    assert len(touched) >= len(rows) - 1
    # A state that says a review's own words is better than one that says its neighbour's.
    first, second = (batch.tokens[batch.review == n] for n in (1, 2))
    own, swapped = torch.zeros(96, 16), torch.zeros(96, 16)
    at = [int(batch.boundaries[n]) for n in (1, 2)]
    bag.dense = torch.nn.Identity()  # type: ignore[assignment]
    for target, (one, other) in ((own, (first, second)), (swapped, (second, first))):
        target[at[0]], target[at[1]] = embeddings[one].mean(0), embeddings[other].mean(0)
    assert bag(own, batch, embeddings) < bag(swapped, batch, embeddings)


def test_the_first_token_learns_the_mean_of_its_own_review() -> None:
    from pretraining.review_mean import ReviewMean

    batch = packed(numbered_reviews(), seed=3).rows(0)
    torch.manual_seed(1)
    hidden = torch.randn(96, 16)
    rows = [int(b) for b in batch.boundaries if b < 96]
    means = torch.stack([hidden[batch.review == n].mean(0) for n in range(len(rows))])
    task = ReviewMean(16)
    wanted = (means - means.mean(0)) / means.var(0, correction=0).sqrt()
    with torch.no_grad():
        task.map.weight.copy_(torch.eye(16))
        task.map.bias.zero_()
    said = (hidden[rows] - wanted).square().mean()
    assert task(hidden, batch, torch.empty(0)).item() == pytest.approx(said.item(), rel=1e-4)
    # Only <s> answers for it: the other tokens are what is to be told.
    hidden.requires_grad_()
    task(hidden, batch, torch.empty(0)).backward()
    assert hidden.grad is not None
    assert set(hidden.grad.abs().sum(1).nonzero().flatten().tolist()) == set(rows)


def test_the_time_decides_the_learning_rate_and_the_end() -> None:
    from pretraining.budget import Budget
    from pretraining.masked_lm import MaskedLanguageModel, roberta_config

    network = MaskedLanguageModel(
        roberta_config(300, 32, 1), data=packed([[9] * 30] * 10), learning_rate=1.0, warmup=0.1
    )
    rates = []
    for progress in (0.0, 0.05, 0.1, 0.55, 1.0):
        network.progress = progress
        rates.append(round(network.rate(), 6))
    assert rates == [0.0, 0.5, 1.0, 0.5, 0.0]
    budget = Budget(minutes=1.0)
    budget.load_state_dict({"settling": 20.0, "trained": 30.0})
    assert budget._progress(step=123) == pytest.approx(0.75)
    assert Budget(minutes=1.0, steps=200)._progress(step=50) == 0.25


def load(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model, report = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, output_loading_info=True)
    return AutoTokenizer.from_pretrained(folder), model, report


@pytest.mark.slow
def test_ends_with_a_folder_that_loads(pretrained: Path) -> None:
    out = pretrained
    tokenizer, model, report = load(out)
    assert not report["unexpected_keys"]
    assert {key.split(".")[0] for key in report["missing_keys"]} == {"classifier"}
    assert next(model.parameters()).dtype == torch.float32
    assert tokenizer.is_fast
    assert tokenizer.model_max_length == 512
    assert (tokenizer.cls_token, tokenizer.sep_token, tokenizer.pad_token, tokenizer.mask_token) == (
        "<s>",
        "</s>",
        "<pad>",
        "<mask>",
    )
    assert tokenizer("A film")["input_ids"] == tokenizer(" a FILM")["input_ids"]
    assert tokenizer("Good.<br /><br />Bad.")["input_ids"] == tokenizer("Good. Bad.")["input_ids"]
    batch = tokenizer(["A film.", "x " * 900], truncation=True, padding=True, return_tensors="pt")
    assert batch["input_ids"].shape == (2, 512)
    assert model.eval()(**batch).logits.isfinite().all()
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "100 of `train.parquet`, 50 of `unsupervised.parquet`" in card
    assert "$" not in card
    settings = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert "unpadded" not in json.dumps(settings), "how it was trained is no business of those who load it"
    assert settings["hidden_dropout_prob"] == settings["attention_probs_dropout_prob"] == 0.1
    assert settings["max_position_embeddings"] == 514
    events = list(Path(f"{out}-run").glob("tensorboard/events.*"))
    assert events, "nothing for TensorBoard"


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(reviews: Path, pretrained: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    out = tmp_path / "backbone"
    words = [str(SCRIPT.parent), *command(reviews, out)[2:], "--checkpoint-seconds", "1e-6"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *words], capture_output=True, text=True, timeout=1000, check=False, env=QUIET
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert not out.exists()
    (kept,) = Path(f"{out}-run").glob("checkpoints/step-*.ckpt")
    # What a kill in the middle of writing leaves behind is passed over.
    torn = kept.with_name("step-199.ckpt")
    torn.write_bytes(b"PK" + bytes(1000))
    done = subprocess.run(command(reviews, out), capture_output=True, text=True, timeout=1000, check=False, env=QUIET)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "going on from" in done.stdout
    assert f"passing over {torn}" in done.stderr
    one, other = (load_file(folder / "model.safetensors") for folder in (pretrained, out))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_another_shape_does_not_go_on_from_this_run(
    reviews: Path, pretrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pretrain_backbone

    assert pretrain_backbone.main([*command(reviews, pretrained)[2:], "--hidden", "48"]) == 2
    assert "hidden" in capsys.readouterr().err
