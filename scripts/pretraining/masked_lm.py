"""A small RoBERTa as a masked language model of whole reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pretraining.bag_of_words import BagOfWords
from pretraining.bpe import BOS, EOS, MODEL_MAX_LENGTH, PAD
from pretraining.captured import CapturedLoss
from pretraining.masks import draw_masks
from pretraining.packing import Batch, ReviewBatches, Ticks, derived_seed
from pretraining.review_mean import ReviewMean
from pretraining.unpadded_attention import NAME, register

if TYPE_CHECKING:
    from transformers import RobertaConfig

LOG_EVERY = 50


def roberta_config(
    vocab: int,
    hidden: int,
    layers: int,
    heads: int | None = None,
    dropout: float = 0.0,
    feedforward: int | None = None,
) -> RobertaConfig:
    """The shape of a small RoBERTa (Liu et al. 2019), with room for 512 tokens.

    Args:
        vocab: tokens in the vocabulary.
        hidden: width.
        layers: encoder layers.
        heads: attention heads; 64 dimensions each when not given.
        dropout: of hidden states, while pretraining.
        feedforward: width of the feed-forward layers; 4 x hidden when not given.
    """
    from transformers import RobertaConfig

    return RobertaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads or max(1, hidden // 64),
        intermediate_size=feedforward or 4 * hidden,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=MODEL_MAX_LENGTH + PAD + 1,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=EOS,
    )


class MaskedLanguageModel(L.LightningModule):
    """Predicts the hidden tokens of whole reviews, and from `<s>` the review's words and the mean of its states.

    Args:
        config: RoBERTa's shape.
        data: where the batches come from.
        learning_rate: the peak.
        weight_decay: on matrices only.
        mask_share: share of the tokens that is hidden.
        span: mean length of what is hidden in one piece, in tokens.
        bag_weight: what telling a review's words counts for beside the hidden tokens; 0 leaves it out.
        word_weights: what each of these words counts for, shape (vocabulary,).
        mean_weight: what telling the mean of a review's states counts for; 0 leaves it out.
        warmup: share of the run in which the rate rises; it then falls to 0 in a line.
        clip: largest norm of the gradient.
        compiled: whether to compile the encoder's layers and the losses.
        captured: whether to capture losses and gradients of a step in a CUDA graph; on a GPU only.
        seed: decides the masks.
    """

    def __init__(
        self,
        config: RobertaConfig,
        *,
        data: ReviewBatches,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        mask_share: float = 0.25,
        span: float = 4.0,
        bag_weight: float = 0.0,
        word_weights: Tensor | None = None,
        mean_weight: float = 0.0,
        warmup: float = 0.06,
        clip: float = 1.0,
        compiled: bool = False,
        captured: bool = False,
        seed: int = 1,
    ) -> None:
        super().__init__()
        from transformers import RobertaForMaskedLM

        register()
        # Through the constructor the name would be written into the configuration that users load.
        self.model = RobertaForMaskedLM(config)
        self.model.set_attn_implementation(NAME)
        # What is asked of <s>: for each task what it counts for.
        self.tasks = nn.ModuleDict()
        self.task_weights = {"bag_of_words": bag_weight, "review_mean": mean_weight}
        if bag_weight:
            weights = torch.ones(config.vocab_size) if word_weights is None else word_weights
            self.tasks["bag_of_words"] = BagOfWords(config.hidden_size, weights)
        if mean_weight:
            self.tasks["review_mean"] = ReviewMean(config.hidden_size)
        self.data = data
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.mask_share = mask_share
        self.span = span
        self.warmup = warmup
        self.clip = clip
        self.seed = seed
        # Share of the run that is over; the budget moves it on.
        self.progress = 0.0
        self.recent_losses: list[float] = []
        self._loss_sum: Tensor | float | None = None
        self._captured = CapturedLoss(self._total, self.parameters()) if captured else None
        lm_head = self.model.lm_head

        def masked_loss(states: Tensor, targets: Tensor) -> Tensor:
            return torch.nn.functional.cross_entropy(lm_head(states).float(), targets)

        self._masked_loss = masked_loss
        if compiled:
            for layer in self.model.roberta.encoder.layer:
                layer.compile(dynamic=False)
            # Scores of the whole vocabulary are the largest tensors of a step: compiled, they are made once, in bf16.
            self._masked_loss = torch.compile(self._masked_loss, dynamic=False)
            for task in self.tasks.values():
                task.compile(dynamic=False)

    def losses(self, batch: Batch, shown: Tensor, positions: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        """The cross-entropy of the hidden tokens, scored at their positions alone, then the loss of each task."""
        hidden = self.model.roberta(
            input_ids=shown[None],
            position_ids=batch.positions[None],
            boundaries=batch.boundaries,
            longest=self.data.longest,
        ).last_hidden_state[0]
        masked = self._masked_loss(hidden.index_select(0, positions), targets)
        embeddings = self.model.roberta.embeddings.word_embeddings.weight
        return masked, *(task(hidden, batch, embeddings) for task in self.tasks.values())

    def _total(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What is minimised, then its parts; of the four parts of a batch, what is shown, where and what to find."""
        masked, *parts = self.losses(Batch(*inputs[:4]), *inputs[4:])
        weighted = [self.task_weights[name] * part for name, part in zip(self.tasks, parts, strict=True)]
        return sum(weighted, start=masked), masked, *parts

    def rate(self) -> float:
        """The learning rate at this point of the run."""
        rising = self.progress / self.warmup if self.warmup else 1.0
        falling = (1.0 - self.progress) / (1.0 - self.warmup)
        return self.learning_rate * max(0.0, min(rising, falling, 1.0))

    def training_step(self, tick: int, batch_idx: int) -> Tensor:
        """One step; its rows and masks follow from the seed and the count of steps alone."""
        step = self.trainer.global_step
        rate = self.rate()
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate
        generator = torch.Generator(device=self.device).manual_seed(derived_seed(self.seed, "masks", step))
        batch = self.data.rows(step)
        hidden = draw_masks(batch.tokens, self.mask_share, self.span, self.model.config.vocab_size, generator)
        total, loss, *parts = (self._captured or self._total)(*batch, *hidden)
        self._loss_sum = loss.detach() if self._loss_sum is None else self._loss_sum + loss.detach()
        if (step + 1) % LOG_EVERY == 0:
            self._log(step, rate)
            for name, part in zip(self.tasks, parts, strict=True):
                self.log(f"train/{name}_loss", part.detach())
        return total

    def backward(self, loss: Tensor, *_: Any, **__: Any) -> None:
        """Goes backward, unless the graph did so already."""
        if self._captured is None:
            loss.backward()  # type: ignore[no-untyped-call]

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Forgets the last step's gradients, unless they are this step's: a graph overwrites them."""
        if self._captured is None:
            optimizer.zero_grad()

    def _log(self, step: int, rate: float) -> None:
        if self._loss_sum is None:
            return
        mean = float(self._loss_sum) / LOG_EVERY
        self._loss_sum = None
        self.recent_losses = [*self.recent_losses[-9:], mean]
        self.log("train/loss", mean, prog_bar=True)
        self.log("train/learning_rate", rate)
        self.log("train/progress", self.progress, prog_bar=True)
        self.log("train/epochs", step / self.data.steps_per_epoch)

    def recent_loss(self) -> tuple[float, int]:
        """The mean loss at the end of the run, and over how many steps."""
        if self.recent_losses:
            return sum(self.recent_losses) / len(self.recent_losses), LOG_EVERY * len(self.recent_losses)
        steps = self.trainer.global_step % LOG_EVERY
        return float(self._loss_sum or 0.0) / max(1, steps), steps

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clips by norm here: Lightning refuses to together with a fused optimiser."""
        torch.nn.utils.clip_grad_norm_(self.parameters(), self.clip)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, with weight decay on matrices only."""
        matrices = [p for p in self.parameters() if p.ndim > 1]
        vectors = [p for p in self.parameters() if p.ndim <= 1]
        return torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": self.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=self.learning_rate,
            betas=(0.9, 0.98),
            eps=1e-6,
            fused=self.device.type == "cuda",
        )

    def train_dataloader(self) -> DataLoader[int]:
        """An endless count; see `ReviewBatches`."""
        return DataLoader(Ticks(), batch_size=None)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the losses for the card, and the sum that the next line of the log needs."""
        checkpoint["recent_losses"] = list(self.recent_losses)
        checkpoint["loss_sum"] = None if self._loss_sum is None else float(self._loss_sum)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores what `on_save_checkpoint` kept."""
        self.recent_losses = list(checkpoint["recent_losses"])
        self._loss_sum = checkpoint["loss_sum"]
