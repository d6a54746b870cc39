"""The data of a training run: its training, validation and test part."""
