"""A layer explained: as text (`text`, `korean`), as a picture (`layer`), and by `explain` as a value that has both."""

from .explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
