"""Pretrained encoders and their tokenizers: where they lie, how they are loaded and in which precision."""
