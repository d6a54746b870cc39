"""Reading and writing files: damaged or hostile ones are refused, and errors name the file."""
