"""The text in files that this package has written, near their beginning or their end.  Such files
may be replaced without asking."""

MARK = "written by tinycnn"
