"""Schedules: pure functions of the number of completed updates.

    schedule = warmup_cosine_decay_schedule(init_value=0.0, peak_value=1e-3, warmup_steps=100, decay_steps=1000)
    schedule(0), schedule(100), schedule(1000)                                  # 0, 1e-3, 0

Every schedule is a record: it prints as the call that makes it, compares and hashes by value, and pickles. Its values may be
traced or swept over with `vmap`; its numbers of steps are static. `schedule` makes a new kind from an equation.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform._types import Schedule as Schedule
    from gradxform.schedules._constant import constant_schedule as constant_schedule
    from gradxform.schedules._cooldown import one_minus_sqrt_schedule as one_minus_sqrt_schedule
    from gradxform.schedules._cooldown import rex_schedule as rex_schedule
    from gradxform.schedules._cosine import cosine_decay_schedule as cosine_decay_schedule
    from gradxform.schedules._cyclic import cyclic_triangular_schedule as cyclic_triangular_schedule
    from gradxform.schedules._cyclic import sgdr_schedule as sgdr_schedule
    from gradxform.schedules._exponential import exponential_decay as exponential_decay
    from gradxform.schedules._inject import InjectHyperparamsState as InjectHyperparamsState
    from gradxform.schedules._inject import InjectStatefulHyperparamsState as InjectStatefulHyperparamsState
    from gradxform.schedules._inject import StatefulSchedule as StatefulSchedule
    from gradxform.schedules._inject import WrappedSchedule as WrappedSchedule
    from gradxform.schedules._inject import WrappedScheduleState as WrappedScheduleState
    from gradxform.schedules._inject import inject_hyperparams as inject_hyperparams
    from gradxform.schedules._inject import inject_stateful_hyperparams as inject_stateful_hyperparams
    from gradxform.schedules._inverse import inverse_time_schedule as inverse_time_schedule
    from gradxform.schedules._inverse import rsqrt_schedule as rsqrt_schedule
    from gradxform.schedules._join import join_schedules as join_schedules
    from gradxform.schedules._onecycle import cosine_onecycle_schedule as cosine_onecycle_schedule
    from gradxform.schedules._onecycle import linear_onecycle_schedule as linear_onecycle_schedule
    from gradxform.schedules._piecewise import piecewise_constant_schedule as piecewise_constant_schedule
    from gradxform.schedules._piecewise import piecewise_interpolate_schedule as piecewise_interpolate_schedule
    from gradxform.schedules._plot import plot as plot
    from gradxform.schedules._polynomial import linear_schedule as linear_schedule
    from gradxform.schedules._polynomial import polynomial_schedule as polynomial_schedule
    from gradxform.schedules._psgd_gap import psgd_gap as psgd_gap
    from gradxform.schedules._record import schedule as schedule
    from gradxform.schedules._tabulate import tabulate as tabulate
    from gradxform.schedules._warmup import warmup_constant_schedule as warmup_constant_schedule
    from gradxform.schedules._warmup import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
    from gradxform.schedules._warmup import warmup_exponential_decay_schedule as warmup_exponential_decay_schedule
    from gradxform.schedules._warmup import warmup_power_schedule as warmup_power_schedule
    from gradxform.schedules._warmup import wsd_schedule as wsd_schedule
else:
    TABLE = {
        "gradxform._types": "Schedule",
        "._constant": "constant_schedule",
        "._cooldown": "one_minus_sqrt_schedule rex_schedule",
        "._cosine": "cosine_decay_schedule",
        "._cyclic": "cyclic_triangular_schedule sgdr_schedule",
        "._exponential": "exponential_decay",
        "._inject": (
            "InjectHyperparamsState InjectStatefulHyperparamsState StatefulSchedule WrappedSchedule "
            "WrappedScheduleState inject_hyperparams inject_stateful_hyperparams"
        ),
        "._inverse": "inverse_time_schedule rsqrt_schedule",
        "._join": "join_schedules",
        "._onecycle": "cosine_onecycle_schedule linear_onecycle_schedule",
        "._piecewise": "piecewise_constant_schedule piecewise_interpolate_schedule",
        "._plot": "plot",
        "._polynomial": "linear_schedule polynomial_schedule",
        "._psgd_gap": "psgd_gap",
        "._record": "schedule",
        "._tabulate": "tabulate",
        "._warmup": (
            "warmup_constant_schedule warmup_cosine_decay_schedule warmup_exponential_decay_schedule "
            "warmup_power_schedule wsd_schedule"
        ),
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
