"""The actors of a Ray cluster."""

from __future__ import annotations

from fastes.executors.ray.executor import Ray, RayExecutor

__all__ = ["Ray", "RayExecutor"]
