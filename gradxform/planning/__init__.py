"""What training takes of each device of a mesh: bytes, what travels, and a lower bound of a step's time, before there are devices.

`plan` needs shapes alone. `HARDWARE` and `MODELS` are records of devices and of models, by name; make your own with `Hardware`, `Model`.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.planning._hardware import HARDWARE as HARDWARE
    from gradxform.planning._hardware import Hardware as Hardware
    from gradxform.planning._models import MODELS as MODELS
    from gradxform.planning._models import Model as Model
    from gradxform.planning._models import Weight as Weight
    from gradxform.planning._plan import plan as plan
    from gradxform.planning._record import Assignment as Assignment
    from gradxform.planning._record import Plan as Plan
else:
    TABLE = {
        "._hardware": "HARDWARE Hardware",
        "._models": "MODELS Model Weight",
        "._plan": "plan",
        "._record": "Assignment Plan",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
