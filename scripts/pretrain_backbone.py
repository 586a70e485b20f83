"""Pretrains the embedded RoBERTa on training and unlabelled reviews only: masked spans, and the review from its <s>.

    python scripts/pretrain_backbone.py --reviews DIR --out OUT --minutes 25 --compile

`DIR` holds `train.parquet` and perhaps `unsupervised.parquet` (column `text`). Checkpoints, TensorBoard's files
and the tokens go to `--run`; the same command again goes on where the last one stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from tokenizers import Tokenizer

    from pretraining.reviews import Reviews

# What may differ between a run and its continuation.
_FREE = {"reviews", "out", "run", "accelerator", "compile", "eager", "scores", "checkpoint_seconds", "precision"}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--reviews",
        type=Path,
        required=True,
        help="folder with train.parquet and perhaps unsupervised.parquet",
    )
    add("--out", type=Path, required=True, help="folder for weights, configuration, tokenizer and card")
    add(
        "--run",
        type=Path,
        help="folder for checkpoints and logs (lightning_logs/pretraining/<name of --out>)",
    )
    add("--layers", type=int, default=6)
    add("--hidden", type=int, default=256)
    add("--heads", type=int, help="attention heads (default: 64 dimensions each)")
    add("--feedforward", type=int, help="width of the feed-forward layers (default: 2 x hidden)")
    add("--vocab", type=int, default=8192, help="tokens, special ones included")
    add("--cased", action="store_true", help="tell upper from lower case")
    add("--minutes", type=float, default=4.0, help="time to train, without reading and tokenising")
    add(
        "--steps",
        type=int,
        help="optimiser steps, instead of --minutes: repeats a run's length on any machine",
    )
    add("--batch", type=int, default=256, help="a step holds batch x seq tokens")
    add("--seq", type=int, default=256, help="tokens of a row at most, up to 512")
    add("--long-every", type=int, default=4, help="every so many epochs, rows twice as long (0: never)")
    add("--lr", type=float, default=2e-3, help="peak learning rate")
    add("--weight-decay", type=float, default=0.01)
    add("--mask", type=float, default=0.25, help="share of the tokens to hide")
    add("--span", type=float, default=4.0, help="mean length of what is hidden in one piece, in tokens")
    add("--bag-weight", type=float, default=0.2, help="what predicting a review's words from <s> counts for (0: off)")
    add("--bag-power", type=float, default=0.35, help="how much more a rare word counts there (0: as any other)")
    add("--mean-weight", type=float, default=0.0, help="what telling the mean of a review's states counts for (0: off)")
    add("--warmup", type=float, default=0.06, help="share of the run in which the learning rate rises")
    add("--dropout", type=float, default=0.0, help="while pretraining; 0.1 is written for those who fine-tune")
    add("--precision", default="bf16-mixed", help="Lightning's: bf16-mixed, 32-true, ...")
    add("--accelerator", default="auto", help="Lightning's: auto, gpu, cpu")
    add("--compile", action="store_true", help="torch.compile the forward pass (a minute, then faster)")
    add("--eager", action="store_true", help="on a GPU: launch every kernel instead of replaying a CUDA graph")
    add("--checkpoint-seconds", type=float, default=60.0, help="time between checkpoints")
    add(
        "--scores",
        default="Not measured yet.",
        help="text for the card: what was measured with these weights",
    )
    add("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    if not 8 <= args.seq <= 512:
        parser.error(f"--seq {args.seq}: between 8 and 512 tokens")
    if args.vocab < 300:
        parser.error(f"--vocab {args.vocab}: 256 bytes and the special tokens need at least 300")
    if args.hidden % (args.heads or max(1, args.hidden // 64)):
        parser.error(f"--hidden {args.hidden} is no multiple of the attention heads: set --heads")
    if args.span < 1.0 or not 0.0 < args.mask < 1.0:
        parser.error("--span is at least 1 token, --mask lies between 0 and 1")
    args.feedforward = args.feedforward or 2 * args.hidden
    args.run = args.run or Path("lightning_logs") / "pretraining" / args.out.resolve().name
    return args


def tokenised(args: argparse.Namespace, reviews: Reviews) -> tuple[Tokenizer, npt.NDArray[np.uint16]]:
    """Trains the vocabulary and encodes the reviews, once: a later process finds both in the run's folder."""
    import numpy as np
    from tokenizers import Tokenizer

    from pretraining.bpe import encode, train_bpe

    key = hashlib.sha256(f"{reviews.sha256}/{args.vocab}/{args.cased}/1".encode()).hexdigest()[:16]
    tokenizer_file, tokens_file = args.run / f"tokenizer-{key}.json", args.run / f"tokens-{key}.npy"
    if tokenizer_file.exists() and tokens_file.exists():
        return Tokenizer.from_file(str(tokenizer_file)), np.load(tokens_file)
    tokenizer = train_bpe(reviews.texts, args.vocab, lowercase=not args.cased)
    tokens = encode(tokenizer, reviews.texts)
    tokenizer.save(str(tokenizer_file))
    partial = tokens_file.with_suffix(".partial.npy")
    np.save(partial, tokens)
    partial.replace(tokens_file)
    return tokenizer, tokens


def main(argv: list[str] | None = None) -> int:
    """Pretrains, or goes on pretraining, and writes the folder."""
    args = parse(argv)
    from pretraining.reviews import read_reviews

    started = time.monotonic()
    try:
        reviews = read_reviews(args.reviews)
        # After the reading: what imports torch takes seconds, and a wrong folder should not.
        from pretraining.training import train

        args.run.mkdir(parents=True, exist_ok=True)
        tokenizer, tokens = tokenised(args, reviews)
        print(f"{len(reviews.texts):,} reviews, {len(tokens):,} tokens, {time.monotonic() - started:.0f} s", flush=True)
        settings = {k: v for k, v in vars(args).items() if k not in _FREE} | {"sha256": reviews.sha256}
        facts = train(args, settings, tokenizer, tokens)
    except (OSError, ValueError) as error:
        print(f"pretrain_backbone: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted: the same command goes on from {args.run}", file=sys.stderr)
        return 130
    from pretraining.export import write_card

    command = shlex.join(["python", "scripts/pretrain_backbone.py", *reproducing(args, facts["steps"])])
    write_card(
        args.out,
        facts
        | {
            "files": ", ".join(f"{count:,} of `{name}`" for name, count in reviews.files.items()),
            "reviews": f"{len(reviews.texts):,}",
            "sha256": reviews.sha256,
            "command": command,
            "scores": args.scores,
        },
    )
    size = sum(p.stat().st_size for p in args.out.iterdir() if p.is_file())
    print(f"{args.out}: {size / 1e6:.2f} MB, loss {facts['loss']}, {facts['steps']} steps, {facts['minutes']} minutes")
    return 0


def reproducing(args: argparse.Namespace, steps: int) -> list[str]:
    """The arguments that make this backbone again, with the machine's pace taken out."""
    words = ["--reviews", "DIR", "--out", "OUT", "--steps", str(steps)]
    for name in (
        "layers",
        "hidden",
        "heads",
        "feedforward",
        "vocab",
        "batch",
        "seq",
        "long_every",
        "lr",
        "weight_decay",
        "mask",
        "span",
        "bag_weight",
        "bag_power",
        "mean_weight",
    ):
        if (value := getattr(args, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--warmup", str(args.warmup), "--dropout", str(args.dropout), "--precision", args.precision]
    return [*words, *(["--cased"] if args.cased else []), "--seed", str(args.seed)]


if __name__ == "__main__":
    sys.exit(main())
