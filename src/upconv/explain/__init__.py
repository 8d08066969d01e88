"""Why a layer's output has the size it has, and what each of its values is made of: as text and as pictures."""

from .checkerboard import Artifacts, artifacts

__all__ = ["Artifacts", "artifacts"]
