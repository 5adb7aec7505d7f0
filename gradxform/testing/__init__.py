"""The laws that every transformation must obey, and `check`, which examines yours.

import gradxform.testing
gradxform.testing.check(my_transformation)
"""

# importing a file adds its laws to LAWS
from gradxform.testing import _field_law, _gradient_laws, _scope_laws, _state_laws, _time_laws, _value_laws  # noqa: F401
from gradxform.testing._case import Case as Case
from gradxform.testing._case import case_for as case_for
from gradxform.testing._check import Report as Report
from gradxform.testing._check import check as check
from gradxform.testing._check import examine as examine
from gradxform.testing._codec_laws import check_codec as check_codec
from gradxform.testing._entailed import entailed as entailed
from gradxform.testing._entailed import entailing as entailing
from gradxform.testing._laws import LAWS as LAWS
from gradxform.testing._laws import Law as Law
from gradxform.testing._laws import LawBroken as LawBroken
from gradxform.testing._laws import Skip as Skip
