"""Names everything that is used of Ray without being documented there; checked with Ray 2.60.

The test of this module says first when another version has dropped one.
"""

JOB_STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"
"""A job's variable: seconds that a job which is to stop has for it."""
SEVERAL_NODES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""The variable that, at 0, keeps a head on loopback; otherwise it takes the machine's outer address."""
CHATTY_JOBS = (
    "ray._private.runtime_env.packaging",
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
)
"""Loggers that tell of every submission."""
CHATTY_TUNE = ("ray.tune.execution.tune_controller", "ray.tune.tune")
"""Loggers that tell of every failed trial, as the study does, and of all that were tried again as incomplete."""
