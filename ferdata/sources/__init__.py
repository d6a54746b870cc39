"""One file for each known data set, and `open`, which recognises and loads any of them."""
