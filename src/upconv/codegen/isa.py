"""Instruction sets: a row of numbers and names each."""

from dataclasses import dataclass, replace

# Bytes of a cache line, wherever kernels run.
LINE = 64


@dataclass(frozen=True, slots=True)
class Isa:
    """One instruction set.

    Attributes:
        name: what UPCONV_ISA calls it; part of the names of kernels.
        arch: the architecture as LLVM's triples spell it.
        vector_bytes: the size of a vector register.
        registers: how many there are.
        cpu: LLVM's name of the feature level: it stands for exactly the features in `needs` and what they imply. No
            particular core is tuned for: it makes no difference to the register tiles (skylake-avx512, sapphirerapids,
            znver4 and znver5 give the same code), and so what the tests read in the assembly holds everywhere.
        features: switches beyond the level, in LLVM's spelling.
        needs: features, as LLVM names the host's, without which kernels cannot run.
        fused: whether a product is added in one instruction; elsewhere it needs a register of its own.
        halves: whether float16 is converted to float32 and back by instructions.
        pairs: the feature, as LLVM names it, by which some machines of the row multiply pairs of bfloat16.
        multiplies_pairs: whether this machine has it; then `features` switches it on.
    """

    name: str
    arch: str
    vector_bytes: int
    registers: int
    cpu: str
    features: str = ""
    needs: tuple[str, ...] = ()
    fused: bool = True
    halves: bool = True
    pairs: str = ""
    multiplies_pairs: bool = False

    def on(self, features):
        """The row with what a machine of such features has beyond its needs."""
        if self.pairs not in features:
            return self
        return replace(self, features=f"{self.features},+{self.pairs}", multiplies_pairs=True)

    def lanes(self, elem_size):
        """Lanes of a vector whose elements have `elem_size` bytes."""
        return self.vector_bytes // elem_size


_V3 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt", "xsave")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

# Best first.
ROWS = {
    row.name: row
    for row in (
        # LLVM prefers 256-bit vectors on some cores, where the tiles here want the whole register.
        Isa("avx512", "x86_64", 64, 32, "x86-64-v4", "-prefer-256-bit", _V4, pairs="avx512bf16"),
        Isa("avx2", "x86_64", 32, 16, "x86-64-v3", "", _V3),
        Isa("x86-64", "x86_64", 16, 16, "x86-64", fused=False, halves=False),
        Isa("neon", "aarch64", 16, 32, "generic", "+neon"),
    )
}
ALIASES = {"sse2": "x86-64"}


def runnable(arch, features):
    """The rows that a machine can run, best first, with what it has beyond them; `features` as LLVM names them."""
    return [row.on(features) for row in ROWS.values() if row.arch == arch and features.issuperset(row.needs)]


def resolve(arch, features, forced=None):
    """The best row for a machine, or the one that is asked for by name.

    Raises:
        ValueError: when the machine cannot run what is asked for; the message names those it can.
        LookupError: when there is no row for the machine at all.
    """
    rows = {row.name: row for row in runnable(arch, features)}
    if not rows:
        raise LookupError(f"no instruction set row for {arch} processors")
    if forced is None:
        return next(iter(rows.values()))
    name = ALIASES.get(forced, forced)
    if name not in rows:
        known = "which this machine cannot run" if name in ROWS else "which is not one of the instruction sets"
        raise ValueError(f"UPCONV_ISA is {forced!r}, {known}; this machine can run {', '.join(rows)}")
    return rows[name]
