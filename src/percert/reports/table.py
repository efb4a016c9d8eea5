"""Numbers that JSON can hold."""

import math
from collections.abc import Mapping
from typing import Any


def finite(value: Any) -> Any:
    """``value`` with infinite and NaN numbers, however deep inside, replaced by ``None``.

    >>> finite({"radius": float("inf"), "rows": (1.0, float("nan"))})
    {'radius': None, 'rows': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
