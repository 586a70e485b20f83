"""The data module: finds, samples, tokenises and batches labelled texts."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from peft_lightning.data.batch_loaders import BatchLoaders, width_multiple
from peft_lightning.data.batch_shapes import batches_of_the_epoch, one_of_each_shape, widest_batch
from peft_lightning.data.description import describe, in_words
from peft_lightning.data.duplicates import duplicates_in_words
from peft_lightning.data.examples import TokenisedReviews
from peft_lightning.data.loader import ResumableDataLoader
from peft_lightning.data.prediction_batches import PredictionBatches, Share, Windows
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.data.setting_limits import require_columns_apart, require_least, require_utf8, require_windows
from peft_lightning.data.sources import (
    Quoting,
    SourceOptions,
    TextPairs,
    Texts,
    prepare,
    read_corpus,
    require_used_quoting,
)
from peft_lightning.data.sources.embedded_sources import PAIRS, SECOND_COLUMN
from peft_lightning.data.sources.glue import glue_settings
from peft_lightning.data.sources.predict_file import read_predict_file
from peft_lightning.data.sources.text_pairs import noun_of
from peft_lightning.data.subsets import choose_subsets
from peft_lightning.data.text_windows import TextWindows
from peft_lightning.data.truncation import Truncation
from peft_lightning.task import Baseline, Task


class TextDataModule(LightningDataModule):
    """Labelled texts: the reviews of IMDb (Maas et al. 2011), or any others in their place.

    Args:
        source: `imdb` (downloaded from the Hugging Face hub), `embedded` (needs no download), `glue/cola` and the
            other tasks of GLUE, a dataset on the hub as `owner/name`, a folder like aclImdb or with train and test
            files, or one file (.parquet, .csv, .tsv, .jsonl). `embedded/multi_label`, `embedded/regression` and
            `embedded/pairs` are like `embedded`, for other tasks. A source without a test split is split by `seed`: a
            stratified fifth is for testing.
        text_column: Column of the texts.
        text_pair_column: Column of second texts, for pairs such as premise and hypothesis.
        label_column: Column of the labels: whole numbers or words, of two or more classes; lists or `a;b`, for texts
            with several labels; or decimals. Several columns, `[a, b]`, hold 0 and 1, or a number each.
        configuration: Configuration of a dataset that has several, such as `sst2` of GLUE.
        train_split: Split to train on; `train` by default.
        val_split: Split to validate on; by default the source's own (`validation`, `val`, `valid` or `dev`) if it has
            a labelled test split too. The name of the training split draws validation from that.
        test_split: Split to test on; by default `test`, or the validation split if that is missing or has no labels.
            The name of the training split holds out a fifth of that.
        quoting: Whether a quotation mark at the start of a field in CSV and TSV encloses the field (`minimal`) or
            is text (`none`); `auto` finds out, and refuses a file that both would fit with other rows. Other sources
            have no such marks, and take `auto` alone.
        deduplicate: Leaves out texts to train on that an earlier one is equal to, or one to validate or test on.
        n_train: Texts to train on, a stratified subset of the training split; by default all that `n_val`
            leaves.
        n_val: Texts to validate on, a subset of the validation split, all of it by default; without one, out of
            the training split too and drawn first, by default 1,000, or a tenth of the split if that is less.
        n_test: Texts to test on, a stratified subset of the test split; all of it by default.
        seed: Picks the subsets, and nothing else.
        max_length: Tokens a text is cut to, the special ones included.
        truncation: What stays of a longer text: its `head`, its `tail`, or `head_tail`, a quarter of the tokens
            from its beginning and the rest from its end, where the verdict is (Sun et al. 2019). With `windows`,
            validation, test and `predict` read all of it in windows of `max_length` tokens, whose logits are
            averaged; training reads its head.
        window_stride: Tokens that two neighbouring windows share, the `stride` of tokenizers; a quarter of a window by
            default.
        add_eos_token: Ends each text, and both of a pair, with the tokenizer's end-of-text token, unless the tokenizer
            does so by itself; a text that is cut keeps it. A decoder's head then reads that token, not the text's last.
        batch_size: Texts in a training batch of each process; two GPUs take twice as many in a step.
        eval_batch_size: Texts in a batch for validation and testing; `predict` takes more at once where they are
            short, up to eight times as many in no more tokens.
        num_workers: Processes that prepare batches; 0 prepares them in the training process, as `predict` always does.
        pad_to_multiple_of: Batches are padded to their longest text, in tokens, rounded up to a multiple of
            this; by default 32 on a GPU and 1 elsewhere.
        cache_dir: Folder that keeps tokenised texts; `~/.cache/peft_lightning` by default.
        predict_file: What `predict` reads: a .txt file with one text a line, or a table with the text
            column.
        model_name_or_path: The model whose tokenizer is used; follows from the model.
        revision: Branch, tag or commit of a model on the hub; follows from the model.
        problem_type: What labels are; follows from the model.
    """

    task: Task
    baseline: Baseline | None
    train: TokenisedReviews
    val: TokenisedReviews
    test: TokenisedReviews
    predict: TokenisedReviews

    def __init__(
        self,
        source: str = "imdb",
        text_column: str = "text",
        label_column: list[str] | str = "label",
        configuration: str | None = None,
        train_split: str | None = None,
        val_split: str | None = None,
        test_split: str | None = None,
        quoting: Quoting = "auto",
        deduplicate: bool = False,
        n_train: int | None = None,
        n_val: int | None = None,
        n_test: int | None = None,
        seed: int = 42,
        max_length: int = 256,
        truncation: Truncation = "head",
        add_eos_token: bool = False,
        batch_size: int = 8,
        eval_batch_size: int = 32,
        num_workers: int = 0,
        pad_to_multiple_of: int | None = None,
        cache_dir: str | None = None,
        predict_file: str | None = None,
        model_name_or_path: str = "roberta-base",
        revision: str | None = None,
        text_pair_column: str | None = None,
        problem_type: str | None = None,
        window_stride: int | None = None,
    ) -> None:
        super().__init__()
        filled = glue_settings(
            {
                "source": source,
                "configuration": configuration,
                "text_column": text_column,
                "text_pair_column": text_pair_column,
                "label_column": label_column,
                "test_split": test_split,
            },
            problem_type,
        )
        text_column = filled.get("data.text_column", text_column)
        text_pair_column = filled.get("data.text_pair_column", text_pair_column)
        test_split = filled.get("data.test_split", test_split)
        problem_type = problem_type or filled.get("model.problem_type")
        self.source = source
        self.text_column = text_column
        self.label_column = label_column
        self.text_pair_column = text_pair_column
        self.problem_type = problem_type
        self.configuration = configuration
        self.train_split = train_split
        self.val_split = val_split
        self.test_split = test_split
        self.quoting: Quoting = quoting
        self.deduplicate = deduplicate
        self.n_train = n_train
        self.n_val = n_val
        self.n_test = n_test
        self.seed = seed
        self.max_length = max_length
        self.truncation: Truncation = truncation
        self.window_stride = window_stride
        self.add_eos_token = add_eos_token
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.pad_to_multiple_of = pad_to_multiple_of
        self.cache_dir = cache_dir
        self.predict_file = predict_file
        self.model_name_or_path = model_name_or_path
        self.revision = revision
        require_least(vars(self))
        require_utf8({"source": source, "cache_dir": cache_dir})
        require_windows(truncation, window_stride, text_pair_column is not None or source == PAIRS)
        require_columns_apart(text_column, text_pair_column, label_column)
        require_used_quoting(quoting, source, predict_file)
        self._pad_token_id: int
        self._windows: TextWindows | None
        self._description: dict[str, Any] | None = None

    def prepare_data(self) -> None:
        """Downloads a source that is on the hub."""
        # Lightning calls this before any stage, and predict reads nothing but its own file.
        if self.trainer is None or not self.trainer.predicting:
            prepare(self.source, self.configuration)

    def setup(self, stage: str) -> None:
        """Reads and tokenises the data of a stage; a second call does nothing.

        Args:
            stage: ``fit``, ``validate`` and ``test`` all get the three subsets, which the record describes
                together; ``predict`` gets the texts of ``predict_file``.

        Raises:
            UserError: The data or the arguments cannot be used.
        """
        if stage == "predict":
            if not hasattr(self, "predict"):
                self.predict = self._read_predict_file()
        elif self._description is None:
            self._read_subsets()

    def description(self) -> dict[str, Any]:
        """Describes the data for the run record.

        Returns:
            ``source``, ``fingerprint`` (a SHA-256 over the texts and labels of the three subsets), ``n_train``,
            ``n_val``, ``n_test``, ``max_length`` (tokens), ``truncated_share`` (the
            share of all their texts that are longer), ``windows`` (in how many the texts to validate and test on
            are read; None where they are cut), ``val_split`` and ``test_split`` (None if they came out of the
            training split), ``train_repeats``, ``val_in_train`` and ``test_in_train`` (numbers of texts that
            occur again), ``removed_from_train`` (how many of them ``deduplicate`` left out), and ``train_labels``
            (number of training texts with each class or label; None if labels are numbers).
        """
        if self._description is None:
            raise RuntimeError("description() before setup()")
        return dict(self._description)

    def train_dataloader(self) -> ResumableDataLoader:
        """Returns training batches, grouped by length; their order depends on torch's seed and the epoch alone."""
        return self._loaders().to_train(self.train)

    def undivided_batches(self) -> ResumableDataLoader:
        """Returns the training batches of all processes: those of one process that takes the same steps."""
        return self._loaders().undivided().to_train(self.train)

    def batches_per_epoch(self) -> int:
        """Counts the batches that this process trains on in an epoch."""
        return len(self.train_dataloader())

    def widest_training_batch(self) -> dict[str, torch.Tensor]:
        """Makes the batch that takes the most memory: the longest training texts."""
        return widest_batch(self.train, self.batch_size, self._loaders().collate)

    def coming_shapes(self) -> list[dict[str, torch.Tensor]]:
        """Makes a batch of each shape that this epoch's batches have; called at the start of a step.

        Returns:
            One batch of each shape, the largest first.
        """
        trainer = self.trainer
        loader = None if trainer is None else trainer.train_dataloader
        if trainer is None or not isinstance(loader, ResumableDataLoader) or loader.dataset is not self.train:
            return []
        return one_of_each_shape(self.train, batches_of_the_epoch(trainer, loader), self._loaders().collate)

    def batch_sizes(self) -> list[list[int]] | None:
        """Returns the number of examples in each batch of this epoch, for each process; None without this loader."""
        loader = None if self.trainer is None else self.trainer.train_dataloader
        return loader.batch_sizes() if isinstance(loader, ResumableDataLoader) else None

    def val_dataloader(self) -> DataLoader[Any]:
        """Returns validation batches, the longest texts first."""
        return self._loaders().to_evaluate(self.val)

    def test_dataloader(self) -> DataLoader[Any]:
        """Returns test batches, the longest texts first."""
        return self._loaders().to_evaluate(self.test)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Returns batches without labels, in the order of the file."""
        return self._loaders().to_predict(self.predict)

    def _loaders(self) -> BatchLoaders:
        trainer = self.trainer
        on_gpu = trainer is not None and trainer.strategy.root_device.type == "cuda"
        return BatchLoaders(
            self.batch_size,
            self.eval_batch_size,
            self.num_workers,
            self.max_length,
            self._pad_token_id,
            self._windows,
            multiple=width_multiple(self.pad_to_multiple_of, on_gpu),
            on_gpu=on_gpu,
            rank=0 if trainer is None else trainer.global_rank,
            world_size=1 if trainer is None else trainer.world_size,
        )

    def _read_subsets(self) -> None:
        tokeniser = self._tokeniser()
        corpus = read_corpus(
            self.source,
            self.text_column,
            self.label_column,
            self.seed,
            SourceOptions.of(vars(self)),
            self.deduplicate,
        )
        subsets = choose_subsets(corpus, self.n_train, self.n_val, self.n_test, self.seed, tokeniser)
        self.train, self.val, self.test = subsets.train, subsets.val, subsets.test
        assert self.train.labels is not None
        targets = self.train.labels.numpy()
        self.task, self.baseline = corpus.task.fitted(targets), subsets.baseline
        support = self.task.support(targets)
        self._description = describe(self.source, corpus, subsets, self.max_length, tokeniser.windows, support)
        notes = [*corpus.origin.notes, *tokeniser.notes]
        if isinstance(corpus.train.texts, TextPairs) and self.truncation != "head":
            notes.append(f"of longer pairs the beginnings of both texts are kept, not the {self.truncation}")
        self._announce(self._description, notes, noun_of(corpus.train.texts))

    def _read_predict_file(self) -> TokenisedReviews:
        texts = self.texts_to_predict()
        return self._tokeniser().tokenise(texts, np.arange(len(texts)))

    def texts_to_predict(self) -> Texts:
        """Reads the texts of ``predict_file``; those of a large file lie on the disk.

        Raises:
            UserError: The file cannot be read, or has a row without a text.
        """
        text_pair_column = SECOND_COLUMN if self.source == PAIRS else self.text_pair_column
        return read_predict_file(self.predict_file, self.text_column, self.quoting, text_pair_column)

    def prediction_batches(self, windows: Windows, on_gpu: bool, share: Callable[[], Share]) -> PredictionBatches:
        """Returns batches of texts that are tokenised while they are predicted, similar lengths together.

        Args:
            windows: The texts.
            on_gpu: Whether they are predicted on a GPU.
            share: Returns which of them this process computes; called when the iteration starts.

        Raises:
            UserError: The tokenizer cannot be used.
        """
        tokeniser = self._tokeniser()
        collate = tokeniser.collate(width_multiple(self.pad_to_multiple_of, on_gpu), self.eval_batch_size)
        return PredictionBatches(windows, tokeniser, collate, self.eval_batch_size, self.max_length, share)

    def _tokeniser(self) -> ReviewTokeniser:
        tokeniser = ReviewTokeniser(
            self.model_name_or_path,
            self.revision,
            self.max_length,
            self.truncation,
            self.cache_dir,
            self.add_eos_token,
            self.window_stride,
        )
        self._pad_token_id, self._windows = tokeniser.pad_token_id, tokeniser.windows
        return tokeniser

    @rank_zero_only
    def _announce(self, description: dict[str, Any], notes: Sequence[str], noun: str) -> None:
        line = in_words(description, self.task.labels_in_words, noun)
        for text in ("; ".join((line, *notes)), duplicates_in_words(description, noun)):
            if text:
                print(text, flush=True)
