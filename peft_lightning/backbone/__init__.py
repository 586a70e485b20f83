"""A hub id, a folder or `embedded` becomes a pretrained model and its tokenizer, held as precisely as is asked."""
