"""The page that `tinycnn export --to html` writes: a network that runs in a web browser."""
