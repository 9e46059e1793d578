"""Novelty search's archive of behaviours, and how far from it a behaviour is (Lehman and Stanley 2011)."""

from __future__ import annotations

from fastes.archive.archive import Archive, Leaves
from fastes.archive.novelty import novelty

__all__ = ["Archive", "Leaves", "novelty"]
