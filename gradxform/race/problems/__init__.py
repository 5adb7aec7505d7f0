"""The built-in problems: one file each, with a function `problem()` that returns it. A new file here is a new problem."""
