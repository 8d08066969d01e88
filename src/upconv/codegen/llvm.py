"""Compiles the text of LLVM modules and links the objects into this process. The only file that knows llvmlite.

llvmlite is imported when first needed, because it takes longer to import than everything else here together. No global
option of LLVM is touched: another library in the process may be using it too.
"""

import ctypes
import hashlib
import mmap
import sys
from functools import lru_cache
from itertools import count

from .isa import Isa

# Kernels are unrolled and vectorised as they mean to be: all they need from the optimiser is their variables put into
# registers. Other passes were tried (instruction combining, loop rotation, control flow) and left the same hot loops.
OPTIONS = "sroa, opt=2, reloc=pic, codemodel=small"
IS_LINUX = sys.platform == "linux"
READ_AND_EXECUTE = 0x1 | 0x4


@lru_cache(maxsize=1)
def binding():
    """The module `llvmlite.binding`, with code generation for this machine ready.

    Raises:
        ImportError: when llvmlite is missing or broken.
    """
    try:
        import llvmlite.binding as llvm
    except OSError as error:
        raise ImportError(str(error)) from error
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@lru_cache(maxsize=1)
def host():
    """(architecture, features) of this machine, as LLVM names them."""
    arch = _host_triple().split("-")[0].replace("arm64", "aarch64")
    return arch, frozenset(name for name, there in binding().get_host_cpu_features().items() if there)


@lru_cache(maxsize=1)
def host_cpu():
    """The processor's model, as LLVM names it: "znver4"; "" where llvmlite is missing or broken."""
    try:
        return binding().get_host_cpu_name()
    except ImportError:
        return ""


def _host_triple():
    return binding().get_process_triple()


def triple(isa: Isa):
    """The triple that code is generated for: this machine's own where it has the architecture, otherwise Linux's."""
    return _host_triple() if isa.arch == host()[0] else f"{isa.arch}-unknown-linux-gnu"


@lru_cache(maxsize=8)
def target_machine(isa: Isa):
    """LLVM's code generator for an instruction set."""
    llvm = binding()
    if isa.arch != host()[0]:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple(isa))
    return target.create_target_machine(cpu=isa.cpu, features=isa.features, opt=2, reloc="pic", codemodel="small")


def optimised(text, isa: Isa):
    """The verified module of an IR text, with its variables in registers."""
    llvm, machine = binding(), target_machine(isa)
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = triple(isa), str(machine.target_data)
    module.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
    return module


def compile_object(text, isa: Isa) -> bytes:
    """An IR text as a relocatable object file."""
    return target_machine(isa).emit_object(optimised(text, isa))


def assembly(text, isa: Isa) -> str:
    """An IR text as assembly, to be looked at."""
    return target_machine(isa).emit_assembly(optimised(text, isa))


def key(text, isa: Isa) -> str:
    """What an object file depends on, as a name for it: the text, the target, LLVM's version and the options."""
    version = ".".join(map(str, binding().llvm_version_info))
    parts = (text, triple(isa), isa.cpu, isa.features, version, OPTIONS)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@lru_cache(maxsize=1)
def _jit():
    # The older of its two linkers puts code and constants anywhere, and aborts the process where they are 2 GiB apart,
    # as it happens beside libraries that take much of the address space. Errors are raised; LLVM need not print them.
    return binding().create_lljit_compiler(use_jit_link=IS_LINUX, suppress_errors=True)


def _may_be_code():
    """Whether the system lets memory become code, asked on a page of our own: the newer linker aborts where not."""
    if not IS_LINUX:
        return True
    page = mmap.mmap(-1, mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return not ctypes.CDLL(None).mprotect(ctypes.c_void_p(start), ctypes.c_size_t(mmap.PAGESIZE), READ_AND_EXECUTE)


_names = count()


class CodeRefused(RuntimeError):
    """A whole object file could not be linked. LLVM does not say why: what is left to go wrong is memory for code."""


class Linked:
    """An object file linked into this process, for good: threads may run the code until the very end.

    Raises:
        CodeRefused: when the object wants symbols that do not exist, or the system refuses memory for code.
    """

    def __init__(self, name, image: bytes):
        if not _may_be_code():
            raise CodeRefused(f"{name}: the system does not let memory become code")
        library = binding().JITLibraryBuilder().add_object_img(image).export_symbol(name)
        try:
            self.library = library.link(_jit(), f"{name}-{next(_names)}")
            self.address = self.library[name]
        except RuntimeError as error:
            raise CodeRefused(str(error)) from error
        # Detached, it is not unloaded with this value, nor when the interpreter ends.
        self.library.detach()

    def function(self):
        """As a Python callable of one address, which lets other threads run meanwhile."""
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address)
