import torch

from peft_lightning.data.examples import Example, PadToLongest, TokenisedReviews
from peft_lightning.data.tokenisation import TokenisedTexts
from tests.data.conftest import each

TOKENS = TokenisedTexts(
    torch.tensor([5, 6, 7, 8, 9, 10], dtype=torch.int32),
    torch.tensor([0, 2, 5, 6]),
    torch.tensor([False, True, False]),
)


def test_a_batch_is_padded_to_its_longest() -> None:
    reviews = TokenisedReviews(TOKENS, torch.tensor([40, 2, 17]), torch.tensor([1, 0, 1]))
    batch = PadToLongest(1)([reviews[2], reviews[0]])
    assert batch["input_ids"].tolist() == [[10, 1], [5, 6]]
    assert batch["attention_mask"].tolist() == [[1, 0], [1, 1]]
    assert batch["labels"].tolist() == [1, 1]
    assert batch["index"].tolist() == [17, 40]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_what_is_to_be_predicted_has_no_labels() -> None:
    reviews = TokenisedReviews(TOKENS, torch.arange(3))
    assert set(PadToLongest(0)(list(each(reviews)))) == {"input_ids", "attention_mask", "index"}
    assert reviews.lengths == [2, 3, 1]


def test_a_single_text_beside_a_pair_has_the_first_text_s_types_alone() -> None:
    pair = Example(input_ids=torch.tensor([5, 6, 7, 8]), label=None, index=0, second=2)
    single = Example(input_ids=torch.tensor([5, 6, 7]), label=None, index=0)
    batch = PadToLongest(pad_token_id=1)([pair, single])
    assert batch["token_type_ids"].tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
