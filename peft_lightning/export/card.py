"""The card of an export, ``README.md``: the metadata that the hub reads, and what a user has to know."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft_lightning.backbone.heads import DECISION_THRESHOLDS
from peft_lightning.data.sources.embedded_sources import EMBEDDED
from peft_lightning.export.card_loading import how_to_load
from peft_lightning.export.card_metadata import card_metadata
from peft_lightning.export.model_files import temperature_of
from peft_lightning.export.named_on_card import base_in_words, dataset_in_words, measured
from peft_lightning.recipes import Config
from peft_lightning.runs.durations import duration
from peft_lightning.runs.record import RunRecord
from peft_lightning.task import Task

if TYPE_CHECKING:
    from peft_lightning.export.written import Written


def write_card(
    path: Path, report: dict[str, Any], written: Written, record: RunRecord, config: Config, name: str, on_hub: bool
) -> None:
    """Writes the card.

    Args:
        path: The file.
        report: The content of ``export.json``.
        written: The export.
        record: The run's record.
        config: The run's configuration.
        name: The export's name: its folder's, or a repository's.
        on_hub: Whether the name is a repository's.
    """
    from huggingface_hub import ModelCard

    metadata = card_metadata(written, record, config, name).to_yaml()
    body = "\n\n".join(
        [
            f"# {name}",
            _summary(report, written, record, config),
            how_to_load(written, name, on_hub),
            _figures(report, written, record),
            *_calibration(written, record),
            _training(record, config, written.texts.in_pairs),
            _limits(written, record, config),
            _proof(report, written.task),
        ]
    )
    ModelCard(f"---\n{metadata}\n---\n\n{body}\n", ignore_metadata_errors=True).save(path)


def _summary(report: dict[str, Any], written: Written, record: RunRecord, config: Config) -> str:
    form = {
        "adapter": "An adapter, with its classification head, for",
        "merged": "A whole model, with what was trained merged in, made of",
        "onnx": "An ONNX model for onnxruntime, made of",
    }[written.request.form]
    kept = "".join(f", its linear layers in {bits}" for bits in filter(None, (written.request.quantize,)))
    return (
        f"{form} {base_in_words(record)}{kept}, fine-tuned on {dataset_in_words(config)} with {record.method}."
        f" {_answers(written)} {report['bytes'] / 2**20:.1f} MiB."
    )


def _answers(written: Written) -> str:
    task, pairs = written.task, "It reads pairs of texts. " if written.texts.in_pairs else ""
    if task.label_names:
        return f"{pairs}It tells apart {', '.join(task.label_names)}."
    names = f": {', '.join(task.output_names)}" if task.num_outputs > 1 else ""
    return f"{pairs}It answers with {task.labels_in_words}{names}."


def _figures(report: dict[str, Any], written: Written, record: RunRecord) -> str:
    headline = written.task.headline
    lines = ["## How good it is", "| metric | test split | 95 % interval |", "| --- | ---: | ---: |"]
    for metric, value in measured(written.task, record):
        span = report.get("interval_before") if metric is headline else None
        lines.append(f"| {metric.name} | {metric.words(value)} | {headline.span(*span) if span else '–'} |")
    counted = report.get("examples")
    sentence = (
        f"The interval is that of {counted:,} test examples; another seed of the training would move it further, and"
        " one run does not show by how much."
        if counted
        else ""
    )
    return f"{lines[0]}\n\n" + "\n".join(lines[1:]) + f"\n\n{sentence}"


def _calibration(written: Written, record: RunRecord) -> list[str]:
    """Returns the section on what was fitted after training, if anything was."""
    fitted, task = record.calibration, written.task
    if fitted is None or task.calibration is None:
        return []
    parts = [f"## Calibration\n\nFitted on {fitted.n_val:,} validation examples, on none of the test split."]
    if (temperature := temperature_of(task)) != 1.0:
        parts.append(
            f"The temperature is {temperature:.4g} (Guo et al. 2017). The head's last layer is divided by it already:"
            " softmax of the logits, or sigmoid for several labels, gives the calibrated probabilities."
        )
    if thresholds := task.named_thresholds():
        rows = "\n".join(f"| {name} | {value:.6g} |" for name, value in thresholds.items())
        parts.append(
            "Decide by these probabilities, which no library does by itself; `config.json` holds them"
            f" (`{DECISION_THRESHOLDS}`):\n\n| answer | where its probability is above |\n| --- | ---: |\n{rows}"
        )
    changed = [
        f"| {metric.name} | {metric.words(before)} | {metric.words(after)} |"
        for metric in task.measured()
        if (before := fitted.before.get(metric.test)) != (after := fitted.after.get(metric.test))
    ]
    if changed:
        head = "| metric on the test split | model alone | calibrated |\n| --- | ---: | ---: |\n"
        parts.append(
            "What that changes; the figures above are those of the model alone.\n\n" + head + "\n".join(changed)
        )
    return ["\n\n".join(parts)]


def _training(record: RunRecord, config: Config, in_pairs: bool) -> str:
    model, trainer, data = config["model"], config["trainer"], record.dataset
    rows = [
        ("base model", base_in_words(record)),
        ("method", f"{record.method} (peft-lightning, seed {record.seed})"),
        ("data", dataset_in_words(config)),
    ]
    if data is not None:
        texts = "pairs" if in_pairs else "texts"
        rows.append(("examples", f"{data.n_train:,} to train on, {data.n_val:,} to choose the checkpoint by"))
        rows.append(("length", f"{data.max_length} tokens; {data.truncated_share:.1%} of the {texts} were longer"))
    if record.params is not None:
        rows.append(("trained", f"{record.params.trainable:,} parameters ({record.params.trainable_percent:.2f} %)"))
    rows.append(("epochs", f"{trainer['max_epochs']}, peak learning rate {model['learning_rate']:g}"))
    if record.time.train_s is not None:
        rows.append(("training time", duration(record.time.train_s)))
    if record.environment is not None:
        rows.append(("on", f"{record.environment.device}, {record.environment.precision}"))
        libraries = ("torch", "transformers", "peft")
        rows.append(("with", ", ".join(f"{name} {getattr(record.environment, name)}" for name in libraries)))
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"## What it was trained on\n\n| | |\n| --- | --- |\n{table}"


def _limits(written: Written, record: RunRecord, config: Config) -> str:
    points = [
        "Texts unlike its training data: another language, another kind of text, another time.",
        "Decisions about people, unless somebody has measured it for exactly that.",
    ]
    if written.task.label_names and temperature_of(written.task) == 1.0:
        points.append("Its probabilities as chances: nobody has calibrated them.")
    if config["data"]["source"] in EMBEDDED or config["model"]["model_name_or_path"] in EMBEDDED:
        points.insert(0, "Anything but trying the tool: it was made with the small stand-ins in peft-lightning.")
    if record.dataset is not None and record.dataset.test_in_train:
        points.append(f"Its figure as it stands: {record.dataset.test_in_train} test texts were also in training.")
    return "## What it is not for\n\n" + "\n".join(f"- {point}" for point in points)


def _proof(report: dict[str, Any], task: Task) -> str:
    if "flips" not in report:
        return f"## Not proved\n\n{report['failure']}."
    metric_after, metric_before = report["after"], report["before"]
    ties = f", {report['near_ties']} of them near ties" if report["near_ties"] else ""
    texts = "pairs" if report["in_pairs"] else "texts"
    text = (
        f"## How it was checked\n\nIn a fresh process, with the libraries alone, the lines above loaded these files and"
        f" answered {report['examples']:,} {texts} of the run's test again: {report['flips']} decisions were others"
        f" than the run's{ties}, no number of an answer moved"
        + (f" by more than {report['greatest_change']:.1e}" if report["greatest_change"] else "")
    )
    if metric_before is not None and metric_after is not None:
        headline = task.headline
        text += f", and {headline.name} was {headline.words(metric_after)} after {headline.words(metric_before)}"
    text += (
        f". One text took {report['latency_ms']:.1f} ms, many went at {report['texts_per_s']:.0f} a second"
        f" ({report['device']}, {report['machine']}). `export.json` has the rest."
    )
    if (plain := report["plain_cut"]) is not None and plain["longer_texts"]:
        text += (
            f" Cut by the tokenizer alone, {plain['flips']} of {plain['longer_texts']} longer texts got another"
            " decision."
        )
    return text if report["proved"] else f"## Not proved\n\n{report['failure']}.\n\n{text}"
