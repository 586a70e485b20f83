"""The pretrained backbone, the classifier around it, and what is trained of it."""
