"""Eigenvectors, roots and non-negative solutions.

eigenvalue, eigenvector = power_iteration(matrix)           x = nnls(A, b, iters=1000)
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.linear_algebra._inverse_root import matrix_inverse_pth_root as matrix_inverse_pth_root
    from gradxform.linear_algebra._nnls import nnls as nnls
    from gradxform.linear_algebra._norm import global_norm as global_norm
    from gradxform.linear_algebra._power_iteration import power_iteration as power_iteration
else:
    TABLE = {
        "._inverse_root": "matrix_inverse_pth_root",
        "._nnls": "nnls",
        "._norm": "global_norm",
        "._power_iteration": "power_iteration",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
