"""Networks and weights read from files and written to them.  `safetensors.py` has tinycnn's own
format."""
