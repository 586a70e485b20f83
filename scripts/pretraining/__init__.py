"""The parts of `pretrain_backbone.py`: reviews, vocabulary, packing, masked language model, time budget, export."""
