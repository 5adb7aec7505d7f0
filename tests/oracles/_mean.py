"""Transcriptions of `mean_over` and `majority_vote`."""

import numpy as np

from oracles._collect import array_oracle


@array_oracle
def mean_over(axis_name):
    u = None
    while True:
        u, _ = yield u


@array_oracle
def majority_vote(axis_name):
    u = None
    while True:
        g, _ = yield u
        u = np.sign(g)
