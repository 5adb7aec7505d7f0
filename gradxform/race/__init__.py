"""The race: many optimizers on one problem, with the same budget, and an honest answer to which of them differ.

    python -m gradxform race                                  digits, the classic optimizers
    python -m gradxform race mypackage.mymodule:problem       your own problem: a function that returns a `Problem`
    results = gradxform.race.run("digits", {"mine": lambda rate: gradxform.sgd(rate, momentum=0.9), "adam": "adam"})

`_protocol.py` says how an optimizer is tuned and tried, `_ties.py` how differences are tested, `_expression.py` what can be raced,
`problems/` holds the built-in problems.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.race._problem import Problem as Problem
    from gradxform.race._problem import host_rng as host_rng
    from gradxform.race._profile import Profile as Profile
    from gradxform.race._profile import profile as profile
    from gradxform.race._race import Interrupted as Interrupted
    from gradxform.race._race import run as run
    from gradxform.race._results import Result as Result
    from gradxform.race._results import Results as Results
    from gradxform.race._results import load as load
else:
    TABLE = {
        "._problem": "Problem host_rng",
        "._profile": "Profile profile",
        "._race": "Interrupted run",
        "._results": "Result Results load",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
