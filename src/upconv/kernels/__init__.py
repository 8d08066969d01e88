"""Micro-kernels written in the staged language, one contract each. A kernel runs one task: a row of 64-bit fields."""

from .. import codegen as codegen
