"""Line searches: the length of a step by evaluating the objective along it."""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.linesearch._backtracking import BacktrackingLinesearchInfo as BacktrackingLinesearchInfo
    from gradxform.linesearch._backtracking import ScaleByBacktrackingLinesearchState as ScaleByBacktrackingLinesearchState
    from gradxform.linesearch._backtracking import scale_by_backtracking_linesearch as scale_by_backtracking_linesearch
    from gradxform.linesearch._reuse import value_and_grad_from_state as value_and_grad_from_state
    from gradxform.linesearch._zoom import ScaleByZoomLinesearchState as ScaleByZoomLinesearchState
    from gradxform.linesearch._zoom import ZoomLinesearchInfo as ZoomLinesearchInfo
    from gradxform.linesearch._zoom import scale_by_zoom_linesearch as scale_by_zoom_linesearch
else:
    TABLE = {
        "._backtracking": "BacktrackingLinesearchInfo ScaleByBacktrackingLinesearchState scale_by_backtracking_linesearch",
        "._reuse": "value_and_grad_from_state",
        "._zoom": "ScaleByZoomLinesearchState ZoomLinesearchInfo scale_by_zoom_linesearch",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
