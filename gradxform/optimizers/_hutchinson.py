"""Where pickles look that were made when Hutchinson's estimate was among the optimizers."""

from gradxform.transforms._hutchinson import HutchinsonState as HutchinsonState
from gradxform.transforms._hutchinson import hutchinson_estimator_diag_hessian as hutchinson_estimator_diag_hessian
