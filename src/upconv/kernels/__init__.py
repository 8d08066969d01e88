"""Micro-kernels written in the staged language, one contract each. Every kernel runs one job: a row of 64-bit words."""
