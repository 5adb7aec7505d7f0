"""The built-in problems: one file each, with a function `problem()` that returns it. A new file here is a new problem;
files whose names begin with an underscore hold what problems share."""
