"""Train, evaluate and serve speaker encoders: is this the same voice?

Importing this package is cheap: torch and every other heavy library are imported by the rooms that need them
(``voxangle.audio``, ``voxangle.encoders``, ``voxangle.objectives`` ...), not here.
"""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("voxangle")
