"""A layer explained, as text (`text`, `korean`) and pictures (`layer`, `views`); `explain` gives a value with both."""

from .checkerboard import Artifacts, artifacts
from .explanation import Explanation, explain

__all__ = ["Artifacts", "Explanation", "artifacts", "explain"]
