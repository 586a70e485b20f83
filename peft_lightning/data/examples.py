"""The dataset of tokenised reviews, and the collate function that pads them to batches."""

from typing import Any, NotRequired, TypedDict

import torch
from torch.utils.data import Dataset

from peft_lightning.data.tokenisation import TokenisedTexts


class Example(TypedDict):
    """One review.

    Attributes:
        input_ids: The token ids, int32, shape (tokens,).
        label: The target, such as the number of its class; None if it is to be predicted.
        index: Row in the split or file that the review comes from.
        second: Of a pair for a model with token types, where the tokens of the second type begin.
    """

    input_ids: torch.Tensor
    label: int | float | list[float] | None
    index: int
    second: NotRequired[int]


class TokenisedReviews(Dataset[Example]):
    """Reviews ready for the model.

    Args:
        tokens: Token ids of n reviews.
        index: Row of each review in the split or file that it comes from, int64, shape (n,).
        labels: Target of each review, such as its class, shape (n, …); None if they are to be predicted.
    """

    def __init__(self, tokens: TokenisedTexts, index: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        self.tokens = tokens
        self.index = index
        self.labels = labels

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each review."""
        lengths: list[int] = self.tokens.lengths.tolist()
        return lengths

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, position: int) -> Example:
        # Iteration over a dataset ends at IndexError, which slicing a tensor would not raise.
        if not 0 <= position < len(self):
            raise IndexError(position)
        start, end = self.tokens.offsets[position : position + 2].tolist()
        example = Example(
            input_ids=self.tokens.input_ids[start:end],
            label=None if self.labels is None else self.labels[position].tolist(),
            index=int(self.index[position]),
        )
        if len(self.tokens.seconds):
            example["second"] = int(self.tokens.seconds[position])
        return example


class PadToLongest:
    """Pads examples on the right to the longest of their batch.

    Args:
        pad_token_id: The id of the padding token.
        multiple: The width is rounded up to a multiple of this, but not beyond ``max_length``.
        max_length: Number of tokens that reviews are cut to.
    """

    def __init__(self, pad_token_id: int, multiple: int = 1, max_length: int | None = None) -> None:
        self.pad_token_id = pad_token_id
        self.multiple = multiple
        self.max_length = max_length

    def width(self, longest: int) -> int:
        """Returns the width of a batch, in tokens.

        Args:
            longest: Number of tokens of its longest review.
        """
        rounded = -(-longest // self.multiple) * self.multiple
        return rounded if self.max_length is None else max(longest, min(rounded, self.max_length))

    def __call__(self, examples: list[Example]) -> dict[str, Any]:
        """Makes a batch of examples.

        Args:
            examples: B examples, padded to T tokens.

        Returns:
            ``input_ids`` and ``attention_mask``, int64, shape (B, T), and ``token_type_ids`` like them for pairs and a
            model with token types; ``index``, int64, shape (B,); and ``labels``, shape (B, …), unless the examples are
            to be predicted.
        """
        width = self.width(max(len(example["input_ids"]) for example in examples))
        input_ids = torch.full((len(examples), width), self.pad_token_id)
        attention_mask = torch.zeros_like(input_ids)
        for row, example in enumerate(examples):
            length = len(example["input_ids"])
            input_ids[row, :length] = example["input_ids"]
            attention_mask[row, :length] = 1
        batch = {"input_ids": input_ids, "attention_mask": attention_mask, **self.of_texts(examples)}
        if any("second" in example for example in examples):
            batch["token_type_ids"] = torch.zeros_like(input_ids)
            for row, example in enumerate(examples):
                # A server's batch may hold a single text beside a pair.
                length = len(example["input_ids"])
                batch["token_type_ids"][row, example.get("second", length) : length] = 1
        return batch

    @staticmethod
    def of_texts(examples: list[Example]) -> dict[str, torch.Tensor]:
        """Returns what a batch says of its texts, not of their tokens: ``index`` and ``labels``.

        Args:
            examples: B examples.
        """
        found = {"index": torch.tensor([example["index"] for example in examples])}
        labels = [example["label"] for example in examples if example["label"] is not None]
        return found | ({"labels": torch.tensor(labels)} if labels else {})
