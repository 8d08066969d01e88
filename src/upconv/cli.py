"""The command line, one way to write a layer in all: `upconv explain | page | solve | translate | plan | onnx` ..."""

import argparse
import os
import re
import shutil
import sys
import webbrowser
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path

from . import __version__, demo
from .bench import command as bench
from .conventions import CONVENTIONS
from .errors import SettingError
from .explain.checkerboard import artifacts, survey
from .explain.drawings import FILES, drawing, said_of
from .explain.explanation import LANGUAGES, Explanation
from .explain.layer import maps_scene
from .explain.page.build import page
from .explain.raster import png
from .explain.saved_products import saved_products
from .explain.solutions import SHOWN, solutions
from .explain.svg import svg
from .explain.terminal import terminal
from .explain.text import COLUMNS
from .explain.translation import translation
from .explain.weights import kernels
from .files import write_atomically
from .framework_options import ALSO_CALLED, check_translatable, framework, framework_setting
from .layer_options import (
    add_dimensions,
    add_layer,
    add_steps,
    as_numbers,
    as_pair,
    attach_negatives,
    by_axis,
    layer_geometry,
    layer_settings,
    refuse_volume,
)
from .measuring import measure, table
from .planning import choose, plan
from .plans import describe
from .runtime.pool import get_num_threads, set_num_threads
from .storage import STORAGES
from .storage import check as check_storage
from .volume import Line
from .weight_files import Unreadable, arrays

EXAMPLES = {
    "explain": ("upconv explain 4x4 -k 3 -s 2 -p 1 --op 1 --svg layer.svg", "what a layer does, and why this size"),
    "page": (
        "upconv page layer.html 4x4 -k 3 -s 2 -p 1 --op 1 --open",
        "a page that shows a layer and lets you change it",
    ),
    "solve": ("upconv solve --in-size 17 --out-size 32", "every setting that turns one size into another"),
    "translate": ("upconv translate --from keras -k 3 -s 2 --padding same --to torch", "a layer in another framework"),
    "plan": ("upconv plan 32x32 -k 4 -s 2 -p 1 --in-channels 64 --out-channels 32", "how upconv computes a layer"),
    "artifacts": ("upconv artifacts weights.npz -s 2", "checkerboards in trained weights, and what helps"),
    "onnx": ("upconv onnx model.onnx --time", "the ConvTranspose nodes of an ONNX model: sizes, costs, warnings"),
    "bench": ("upconv bench --quick --only sam,dcgan", "time real layers beside other engines"),
    "demo": ("upconv demo", "digits drawn by a small network"),
}
INTERRUPTED = 130
REFUSED = 2
DEFAULT_SIZE = (8, 8)
OTHER_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".pdf", ".eps", ".ps", ".html")
PAGE = "upconv.html"
LEAST_COLUMNS = 40


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses in one line."""

    def error(self, message):
        self.exit(REFUSED, f"{self.prog}: {message} ({self.prog} --help shows the options)\n")


def main(argv=None) -> int:
    """Run the command line; gives the exit status: 0, 2 for what was refused, 130 when interrupted.

    >>> main("solve --in-size 4 --out-size 9 -k 3 -s 2 -d 1 --all".split())  # doctest: +ELLIPSIS
    4 × 4 to 9 × 9: 1 setting within k = 3, s = 2, d = 1, best first
    ...
    0
    """
    if hasattr(sys.stdout, "reconfigure"):
        # A terminal that lacks × still gets the rest.
        sys.stdout.reconfigure(errors="replace")
    try:
        return _run(build_parser(), attach_negatives(sys.argv[1:] if argv is None else list(argv)))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`head`, say) has had enough; without this, Python complains once more while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(parser, argv):
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:
        return stop.code or 0
    if options.command is None:
        parser.print_help()
        return 0
    try:
        status = options.handler(options)
        sys.stdout.flush()
        return status or 0
    except BrokenPipeError:
        raise
    except (ValueError, TypeError, NotImplementedError, ImportError, OSError, argparse.ArgumentTypeError) as error:
        print(f"upconv {options.command}: {_in_words(error)}", file=sys.stderr)
        return REFUSED
    except (MemoryError, OverflowError):
        print(f"upconv {options.command}: these numbers are too large to work with", file=sys.stderr)
        return REFUSED


def _in_words(error):
    """An error as a sentence; of a file, without the error's number."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return error


def build_parser():
    """The parser of the whole command line."""
    examples = "\n".join(f"  {command}\n      {what}" for command, what in EXAMPLES.values())
    parser = Parser(
        prog="upconv",
        description="The transposed convolution: what a layer does, and which layer does it.",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"upconv {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, add, handler in (
        ("explain", _add_explain, _explain),
        ("page", _add_page, _page),
        ("solve", _add_solve, _solve),
        ("translate", _add_translate, _translate),
        ("plan", _add_plan, _plan),
        ("artifacts", _add_artifacts, _artifacts),
        ("onnx", _add_onnx, _onnx),
        ("bench", bench.add_arguments, bench.run),
        ("demo", demo.add_arguments, demo.run),
    ):
        example, what = EXAMPLES[name]
        command = commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add(command)
        command.set_defaults(handler=handler)
    return parser


def _add_explain(parser):
    add_layer(parser)
    parser.add_argument("--svg", metavar="FILE", help="draw the layer into FILE too; - writes only the drawing")
    parser.add_argument("--png", metavar="FILE", help="the same drawing as PNG; needs Pillow")
    parser.add_argument("--draw", action="store_true", help="draw the layer in the terminal too, before the words")
    parser.add_argument("--gif", metavar="FILE", help="the layer stamp by stamp, animated; needs Pillow")
    parser.add_argument(
        "--algorithm", choices=("winograd",), help="how it saves products, on numbers to check by hand, instead"
    )
    parser.add_argument("--short", action="store_true", help="the two sentences of the beginning alone")
    parser.add_argument(
        "--lang", choices=LANGUAGES, default="en", help="language of text and pictures: en or ko (한국어)"
    )


def _explain(options):
    geometry = layer_geometry(options)
    wanted = [(kind, getattr(options, kind)) for kind in FILES if getattr(options, kind) is not None]
    for kind, file in wanted:
        _check_drawing(kind, file)
    others = ["--draw"] * options.draw + ["--algorithm winograd"] * bool(options.algorithm)
    for option in [*(f"--{kind} {file}" for kind, file in wanted), *others]:
        refuse_volume(geometry, "explain", option)
    if options.svg == "-":
        # In ASCII, so that a terminal's encoding cannot spoil it.
        drawn, _ = drawing("svg", geometry, options.lang)
        sys.stdout.write(drawn.decode().encode("ascii", "xmlcharrefreplace").decode())
        return
    drawn = [(file, *drawing(kind, geometry, options.lang)) for kind, file in wanted]
    for file, data, _ in drawn:
        write_atomically(Path(file), data)
    if options.draw:
        is_coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        print(terminal(maps_scene(geometry, options.lang), is_coloured), end="\n\n")
    said, width = Explanation(geometry, options.lang), _columns()
    if options.algorithm:
        words = saved_products(geometry, options.lang, width)
    else:
        words = "\n".join([*said.summary_in(width), ""]) if options.short else said.text_in(width)
    sys.stdout.write(words)
    if drawn:
        print("\n" + said_of([(file, spoken) for file, _, spoken in drawn], options.lang))


def _columns():
    """How wide text may be: what COLUMNS says, or else as wide as the terminal, if that is not very wide."""
    said = os.environ.get("COLUMNS", "").strip()
    if re.fullmatch("[0-9]{1,4}", said) and int(said):
        return max(LEAST_COLUMNS, int(said))
    return max(LEAST_COLUMNS, min(COLUMNS, shutil.get_terminal_size((COLUMNS, 0)).columns))


def _check_drawing(kind, path):
    """Refuse a name that promises another kind of picture than is written."""
    if path == "":
        raise ValueError(f"--{kind} is empty; it must be a file" + ", or - for the drawing alone" * (kind == "svg"))
    suffix = Path(path).suffix
    if suffix.lower() in {*OTHER_PICTURES, *(f".{name}" for name in FILES)} - {f".{kind}"}:
        right = Path(path).with_suffix(f".{kind}")
        raise ValueError(f"--{kind} is {path}, but writes {kind.upper()}, not {suffix[1:]}; {right} would do")


def _add_page(parser):
    parser.add_argument("file", nargs="?", metavar="FILE", help=f"where to write it; default: {PAGE}")
    add_layer(parser, optional=True, any_dimensions=False)
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="its language at first; it speaks both")
    parser.add_argument("--open", action="store_true", help="show it in the browser")


def _page(options):
    if options.size is None and re.fullmatch(r"[0-9]+(x[0-9]+)*", options.file or ""):
        options.size, options.file = as_numbers(options.file), None
    if (options.size is None) != (options.kernel_size is None):
        raise ValueError(f"a layer needs its input size and -k; for instance {EXAMPLES['page'][0]}")
    geometry = None if options.size is None else layer_geometry(options)
    path = Path(options.file or PAGE)
    write_atomically(path, page(geometry, options.lang).encode())
    print(path)
    if options.open:
        webbrowser.open(path.absolute().as_uri())


def _add_solve(parser):
    parser.add_argument("--in-size", type=as_numbers, required=True, metavar="SIZE", help="17, 17x23 (height first)")
    parser.add_argument("--out-size", type=as_numbers, required=True, metavar="SIZE")
    flags = {
        "k": ("-k", "--kernel-size"),
        "s": ("-s", "--stride"),
        "p": ("-p", "--padding"),
        "op": ("--op", "--output-padding"),
        "d": ("-d", "--dilation"),
    }
    for name, spellings in flags.items():
        parser.add_argument(*spellings, type=as_numbers, dest=name, metavar=name.upper(), help="keep to this value")
    for name, letter in (("kernel", "K"), ("stride", "S"), ("dilation", "D"), ("padding", "P")):
        parser.add_argument(f"--max-{name}", type=int, metavar=letter, help=f"largest {name} to try")
    add_dimensions(parser)
    parser.add_argument("--all", action="store_true", help=f"list all settings, not just the best {SHOWN}")


def _solve(options):
    names = {"k": "-k", "s": "-s", "p": "-p", "op": "--op", "d": "-d"}
    given = {called: getattr(options, name) for name, called in names.items()}
    sizes = {"--in-size": options.in_size, "--out-size": options.out_size}
    axes, (before, after, *found) = by_axis(sizes | given, options.dims)
    fixed = [{name: values[axis] for name, values in zip(names, found, strict=True) if values} for axis in range(axes)]
    bounds = {name: getattr(options, name) for name in ("max_kernel", "max_stride", "max_dilation", "max_padding")}
    sizes = list(zip(before, after, strict=True))
    sys.stdout.write(solutions(sizes, fixed, bounds, None if options.all else SHOWN))


def _add_translate(parser):
    for option, name in (("--from", "source"), ("--to", "target")):
        words = f"{', '.join(CONVENTIONS)}; also {', '.join(ALSO_CALLED)}"
        parser.add_argument(option, dest=name, type=framework, required=True, metavar="FRAMEWORK", help=words)
    parser.add_argument("-k", "--kernel-size", type=as_pair, required=True, metavar="K")
    parser.add_argument(
        "-p",
        "--padding",
        metavar="P",
        help="as the framework spells it: 1, 1x2, lo:hi, same, valid, SAME, SAME_UPPER, ...",
    )
    parser.add_argument("--in-size", type=as_pair, metavar="HxW", help="for answers that depend on it")
    parser.add_argument("--output-shape", type=as_pair, metavar="HxW", help="ONNX: the size wanted")
    parser.add_argument("--consistent-padding", action="store_true", help="JAX: use_consistent_padding=True")
    add_steps(parser)


def _translate(options):
    check_translatable(options)
    settings = [framework_setting(options, axis) for axis in (0, 1)]
    shapes = list(zip(options.kernel_size, options.stride, options.dilation, strict=True))

    def axes_of(sizes):
        return [setting.axis(n, *shape) for setting, n, shape in zip(settings, sizes, shapes, strict=True)]

    sizes = options.in_size or DEFAULT_SIZE
    given = options.in_size is not None
    sys.stdout.write(translation(options.source, settings, options.target, axes_of, sizes, options.groups, given))


def _add_plan(parser):
    add_layer(parser)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--channels-last", action="store_true", help="plan for NHWC data")
    parser.add_argument("--prepared", action="store_true", help="plan for a prepared weight, as a layer has it")
    parser.add_argument(
        "--storage", choices=STORAGES, help="beside --prepared: the halves in which a weight of float32 is kept"
    )
    parser.add_argument("--algorithm", default="auto", help="plan this one, by its name")
    parser.add_argument("--threads", type=int, metavar="N", help="plan for N threads; default: all")
    parser.add_argument("--measure", action="store_true", help="time every algorithm on random data too")


def _plan(options):
    geometry, settings = layer_geometry(options), layer_settings(options).as_2d()
    refuse_volume(geometry, "plan")
    shapes = geometry.map if isinstance(geometry, Line) else geometry
    storage = check_storage(options.storage, options.dtype)
    if storage and not options.prepared:
        raise SettingError("--storage is for a weight that is prepared: add --prepared, or leave it out")
    made = plan(
        shapes.input_shape,
        shapes.weight_shape,
        None,
        settings.stride,
        settings.padding,
        settings.output_padding,
        settings.groups,
        settings.dilation,
        dtype=options.dtype,
        channels_last=options.channels_last,
        algorithm="auto" if options.prepared else options.algorithm,
    )
    if options.prepared:
        made = choose(replace(made.problem, prepared=True, storage=storage), options.algorithm)
    before = get_num_threads()
    if options.threads is not None:
        _use_threads(options.threads)
    try:
        print(_measured(made) if options.measure else made)
    finally:
        set_num_threads(before)


def _use_threads(number):
    """As many threads as asked for; a number that is refused is told by the name that it has here."""
    try:
        set_num_threads(number)
    except SettingError as error:
        raise SettingError(str(error).replace("n is", "--threads is", 1)) from None


def _measured(made):
    """A plan with measurements in its table, after a line of progress on a terminal."""

    def begin(name):
        if sys.stderr.isatty():
            print(f"\rmeasuring {name:<20}", end="", file=sys.stderr, flush=True)

    rows = measure(made.problem, begin)
    if sys.stderr.isatty():
        print(f"\r{'':<30}\r", end="", file=sys.stderr, flush=True)
    return "\n".join([*describe(made), table(rows, made.algorithm, get_num_threads())])


def _add_artifacts(parser):
    parser.add_argument(
        "file", metavar="FILE", help=".npz, .npy, .safetensors; .pt and .pth where PyTorch is installed"
    )
    parser.add_argument("--key", metavar="NAME", help="the weight to look at; * stands for anything")
    parser.add_argument("-s", "--stride", type=as_pair, default=(2, 2), metavar="S", help="of the layer; default: 2")
    parser.add_argument("-d", "--dilation", type=as_pair, default=(1, 1), metavar="D")
    parser.add_argument("-g", "--groups", type=int, default=1, metavar="G")
    parser.add_argument("--svg", metavar="FILE", help="draw the weight into FILE too")
    parser.add_argument("--png", metavar="FILE", help="the same drawing as PNG; needs Pillow")


def _artifacts(options):
    read = arrays(options.file, _torch_arrays)
    found = kernels(read)
    chosen = {name: array for name, array in found.items() if fnmatchcase(name, options.key or "*")}
    if not chosen:
        for name, tensor in read.items():
            if isinstance(tensor, Unreadable) and fnmatchcase(name, options.key or "*"):
                tensor.refuse()
        names = f"; it has {', '.join(found)}" if found else ", which has four axes and more than one tap"
        raise ValueError(f"{options.file} holds no weight {options.key or 'of a 2-D layer'}{names}")
    reports = [
        artifacts(array, options.stride, groups=options.groups, dilation=options.dilation, name=name)
        for name, array in chosen.items()
    ]
    if len(reports) > 1:
        if options.svg or options.png:
            raise ValueError(
                f"one weight can be drawn, and there are {len(reports)}; --key picks one of {', '.join(chosen)}"
            )
        print("\n".join(survey(reports)))
        return
    for file, draw in ((options.svg, lambda scene: svg(scene).encode()), (options.png, png)):
        if file:
            write_atomically(Path(file), draw(reports[0].scene()))
    print(reports[0])


def _torch_arrays(path):
    """The arrays of a file of PyTorch's, by PyTorch."""
    return _of_extra("torch", "weights").arrays(path)


def _add_onnx(parser):
    parser.add_argument("file", metavar="MODEL", help="a file of ONNX")
    what = "sizes of an input that the model leaves open, as in x=1x3x64x64; may be given several times"
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=SIZES", help=what)
    parser.add_argument("--time", action="store_true", help="time every node beside ONNX Runtime")
    parser.add_argument("--threads", type=int, metavar="N", help="time with N threads; default: all")


def _onnx(options):
    _of_extra("onnx", "command").run(options)


def _of_extra(framework, module):
    """A module of a front-end, which needs more than the package itself."""
    try:
        return import_module(f".{framework}.{module}", __package__)
    except ModuleNotFoundError as error:
        raise ImportError(f"{error.name} is not installed: pip install 'upconv[{framework}]'") from None


if __name__ == "__main__":
    sys.exit(main())
