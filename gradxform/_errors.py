"""Every error of the library.

    GradxformError
    ├── HyperparameterError     a hyperparameter is out of its range, or not a number       (ValueError, TypeError)
    ├── StructureError          trees, shapes or states that do not belong together         (ValueError, TypeError)
    ├── MissingArgumentError    `params` or an extra argument that a kernel needs is absent (ValueError, TypeError)
    ├── LabelError              a label matches nothing, or a leaf has no label             (ValueError)
    ├── UnknownNameError        no optimizer, problem or engine of that name                (LookupError)
    └── ProblemError            a user's own race problem misbehaves                        (ValueError)

Each message says which transformation, which leaf path, what was received, and what to do.
"""


class GradxformError(Exception):
    """Base class of the errors that gradxform raises itself."""


class HyperparameterError(GradxformError, ValueError, TypeError):
    """A hyperparameter is out of its range, or not a number, array or schedule."""


class StructureError(GradxformError, ValueError, TypeError):
    """Updates, state and parameters do not have the same structure or shapes."""


class MissingArgumentError(GradxformError, ValueError, TypeError):
    """`params`, or an extra argument such as `value=`, is needed and was not given."""


class LabelError(GradxformError, ValueError):
    """A label is unknown, a pattern matches nothing, or a leaf is left without a label."""


class UnknownNameError(GradxformError, LookupError):
    """Nothing of that name is registered."""


class ProblemError(GradxformError, ValueError):
    """A race problem does not have the required parts, raises, or returns something unusable."""
