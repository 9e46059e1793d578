"""The installed version of fastes."""

from importlib.metadata import version

VERSION = version("fastes")
