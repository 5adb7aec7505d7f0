"""The race: many optimizers on one problem, with the same budget, and an honest answer to which of them differ.

    python -m gradxform race                                  digits, the classic optimizers
    python -m gradxform race mypackage.mymodule:problem       your own problem: a function that returns a `Problem`

`_protocol.py` says how an optimizer is tuned and tried, `_ties.py` how differences are tested, `problems/` holds the built-in
problems.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.race._problem import Problem as Problem
    from gradxform.race._problem import host_rng as host_rng
else:
    TABLE = {
        "._problem": "Problem host_rng",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
