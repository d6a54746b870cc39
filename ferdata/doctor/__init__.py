"""ferdata check: examines a data set and reports what looks wrong, as text, JSON or html."""
