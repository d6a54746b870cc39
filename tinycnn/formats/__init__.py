"""Weights in and out.  `safetensors.py` is the project's own format."""
