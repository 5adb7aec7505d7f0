"""One of several processes: `python worker.py FOLDER CASE...` leaves what it has after each case in FOLDER/RANK.npz."""

import pathlib
import sys

import numpy as np

from tests.processes import cases
from tests.processes.launch import join

if __name__ == "__main__":
    rank = join()
    folder, *names = sys.argv[1:]
    found = {f"{name}{path}": x for name in names for path, x in cases.values(cases.EVERY[name].run()).items()}
    np.savez(pathlib.Path(folder) / f"{rank}.npz", **found)
