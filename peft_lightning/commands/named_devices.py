"""How a setting of the Trainer's names devices; imports nothing slow."""

from typing import Any


def named_devices(devices: object) -> list[Any] | None:
    """Returns the numbers by which devices are named; None if it is said how many.

    Args:
        devices: The setting, such as ``2``, ``"0,3"`` or ``[0, 3]``.
    """
    if isinstance(devices, str) and "," in devices:
        return [part for part in devices.split(",") if part.strip()]
    return devices if isinstance(devices, list) else None
