"""A small RoBERTa as a masked language model, with the masks drawn anew at each step, on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pretraining.bpe import BOS, EOS, MASK, MODEL_MAX_LENGTH, PAD, SPECIAL_TOKENS
from pretraining.packing import PackedTokens, Ticks, derived_seed

if TYPE_CHECKING:
    from transformers import RobertaConfig

LOG_EVERY = 50


def roberta_config(
    vocab: int, hidden: int, layers: int, heads: int | None = None, dropout: float = 0.0
) -> RobertaConfig:
    """The shape of a small RoBERTa (Liu et al. 2019): its proportions, and room for 512 tokens.

    Args:
        vocab: tokens in the vocabulary.
        hidden: width.
        layers: encoder layers.
        heads: attention heads; 64 dimensions each when not given.
        dropout: of hidden states and attention, while pretraining.
    """
    from transformers import RobertaConfig

    return RobertaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads or max(1, hidden // 64),
        intermediate_size=4 * hidden,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        max_position_embeddings=MODEL_MAX_LENGTH + PAD + 1,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=EOS,
    )


def draw_masks(rows: Tensor, share: float, vocab: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Hides tokens as BERT does: of those chosen, 80 % become `<mask>`, 10 % another token, 10 % stay.

    The number per row is fixed: shapes stay static, and the device need not wait for the host.

    Args:
        rows: token ids, shape (B, T).
        share: share of a row's tokens to choose.
        vocab: tokens in the vocabulary.
        generator: on the device of `rows`.

    Returns:
        the rows to show (B, T), the chosen positions (B, K), and the tokens that stood there (B, K).
    """
    count = max(1, round(share * rows.shape[1]))
    noise = torch.rand(rows.shape, device=rows.device, generator=generator)
    noise = noise.masked_fill(rows < len(SPECIAL_TOKENS), -1.0)
    positions = noise.topk(count, dim=1).indices
    targets = rows.gather(1, positions)
    dice = torch.rand(targets.shape, device=rows.device, generator=generator)
    others = torch.randint(len(SPECIAL_TOKENS), vocab, targets.shape, device=rows.device, generator=generator)
    shown = torch.where(dice < 0.8, torch.full_like(targets, MASK), torch.where(dice < 0.9, others, targets))
    # A row of little but separators: what is special is neither hidden nor asked for.
    special = targets < len(SPECIAL_TOKENS)
    shown = torch.where(special, targets, shown)
    return rows.scatter(1, positions, shown), positions, targets.masked_fill(special, -100)


class MaskedLanguageModel(L.LightningModule):
    """Predicts the hidden tokens of packed reviews.

    Args:
        config: RoBERTa's shape.
        data: where the batches come from.
        learning_rate: the peak.
        weight_decay: on matrices only.
        mask_share: share of the tokens that is hidden.
        warmup: share of the run in which the rate rises; it then falls to 0 in a line.
        clip: largest norm of the gradient.
        compiled: whether to compile the forward pass.
        seed: decides the masks.
    """

    def __init__(
        self,
        config: RobertaConfig,
        *,
        data: PackedTokens,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        mask_share: float = 0.2,
        warmup: float = 0.06,
        clip: float = 1.0,
        compiled: bool = False,
        seed: int = 1,
    ) -> None:
        super().__init__()
        from transformers import RobertaForMaskedLM

        self.model = RobertaForMaskedLM(config)
        self.data = data
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.mask_share = mask_share
        self.warmup = warmup
        self.clip = clip
        self.seed = seed
        # Share of the run that is over; the budget moves it on.
        self.progress = 0.0
        self.recent_losses: list[float] = []
        self._loss_sum: Tensor | float | None = None
        self._loss_of = torch.compile(self.loss, dynamic=False) if compiled else self.loss

    def loss(self, shown: Tensor, positions: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the hidden tokens; the vocabulary is scored at their positions alone."""
        hidden = self.model.roberta(input_ids=shown).last_hidden_state
        chosen = hidden.gather(1, positions[..., None].expand(-1, -1, hidden.shape[-1]))
        scores = self.model.lm_head(chosen)
        return torch.nn.functional.cross_entropy(scores.flatten(0, 1).float(), targets.flatten())

    def rate(self) -> float:
        """The learning rate at this point of the run."""
        rising = self.progress / self.warmup if self.warmup else 1.0
        falling = (1.0 - self.progress) / (1.0 - self.warmup)
        return self.learning_rate * max(0.0, min(rising, falling, 1.0))

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        """One step; its rows and masks follow from the seed and the count of steps alone."""
        step = self.trainer.global_step
        rate = self.rate()
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate
        generator = torch.Generator(device=self.device).manual_seed(derived_seed(self.seed, "masks", step))
        shown, positions, targets = draw_masks(
            self.data.rows(step), self.mask_share, self.model.config.vocab_size, generator
        )
        loss: Tensor = self._loss_of(shown, positions, targets)
        detached = loss.detach()
        self._loss_sum = detached if self._loss_sum is None else self._loss_sum + detached
        if (step + 1) % LOG_EVERY == 0:
            self._log(step, rate)
        return loss

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
        """An endless count; see `PackedTokens`."""
        return DataLoader(Ticks(), batch_size=None)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the losses for the card, and the sum that the next line of the log needs."""
        checkpoint["recent_losses"] = list(self.recent_losses)
        checkpoint["loss_sum"] = None if self._loss_sum is None else float(self._loss_sum)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores what `on_save_checkpoint` kept."""
        self.recent_losses = list(checkpoint["recent_losses"])
        self._loss_sum = checkpoint["loss_sum"]
