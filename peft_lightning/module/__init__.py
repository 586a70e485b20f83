"""The LightningModule, what it measures, and which checkpoints fit it."""
