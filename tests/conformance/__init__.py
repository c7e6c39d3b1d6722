"""The same configs trained and evaluated by mmseg itself and by the tuner; `python -m tests.conformance` shows all."""

import tuner.models  # noqa: F401 - mmseg cannot be imported before it
