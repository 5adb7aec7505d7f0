"""Eigenvectors, factorizations, roots and non-negative solutions.

eigenvalue, eigenvector = power_iteration(matrix)           x = nnls(A, b, iters=1000)
w, v = eigh(matrices);  q, r = qr(matrices)                 root = inverse_root(matrices, 4)
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.linear_algebra._factorizations import eigh as eigh
    from gradxform.linear_algebra._factorizations import qr as qr
    from gradxform.linear_algebra._factorizations import svd as svd
    from gradxform.linear_algebra._inverse_root import matrix_inverse_pth_root as matrix_inverse_pth_root
    from gradxform.linear_algebra._nnls import nnls as nnls
    from gradxform.linear_algebra._norm import global_norm as global_norm
    from gradxform.linear_algebra._power_iteration import power_iteration as power_iteration
    from gradxform.linear_algebra._roots import inverse_root as inverse_root
    from gradxform.linear_algebra._roots import kept as kept
else:
    TABLE = {
        "._factorizations": "eigh qr svd",
        "._inverse_root": "matrix_inverse_pth_root",
        "._nnls": "nnls",
        "._norm": "global_norm",
        "._power_iteration": "power_iteration",
        "._roots": "inverse_root kept",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
