"""Surgery: what is done with a transformation and its state between two updates. It takes (tx, state), and wraps nothing."""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.surgery._check_restored import check_restored as check_restored
    from gradxform.surgery._digest import digest as digest
    from gradxform.surgery._eval_params import eval_params as eval_params
    from gradxform.surgery._hyperparams import get_hyperparams as get_hyperparams
    from gradxform.surgery._hyperparams import set_hyperparams as set_hyperparams
    from gradxform.surgery._reset_group import reset_group as reset_group
    from gradxform.surgery._resume import resume_at as resume_at
    from gradxform.surgery._stats import stats as stats
    from gradxform.surgery._summary import Summary as Summary
    from gradxform.surgery._summary import summary as summary
    from gradxform.surgery._transfer import Transfer as Transfer
    from gradxform.surgery._transfer import transfer_state as transfer_state
else:
    TABLE = {
        "._check_restored": "check_restored",
        "._digest": "digest",
        "._eval_params": "eval_params",
        "._hyperparams": "get_hyperparams set_hyperparams",
        "._reset_group": "reset_group",
        "._resume": "resume_at",
        "._stats": "stats",
        "._summary": "Summary summary",
        "._transfer": "Transfer transfer_state",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
