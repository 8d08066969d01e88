"""What `upconv explain` draws into files, by their kind, and what it says of them."""

from .animation import animation
from .layer import layer_scene
from .raster import gif, has_hangul, png
from .svg import svg

FILES = {
    "svg": lambda geometry, language: svg(layer_scene(geometry, language)).encode(),
    "png": lambda geometry, language: png(layer_scene(geometry, language)),
    "gif": lambda geometry, language: gif(animation(geometry, language=language)),
}
DRAWN = {"en": "drawing: {file}", "ko": "그림: {file}"}
IN_ENGLISH = "{file}: 이 컴퓨터에서 한글 글꼴을 찾지 못해 그림의 글을 영어로 썼습니다. SVG에는 한글이 그대로 나옵니다."


def drawing(kind: str, geometry, language: str) -> tuple[bytes, str]:
    """A file of a kind, and the language of its words: English where pixels have no font for Korean ones."""
    spoken = "en" if kind != "svg" and language == "ko" and not has_hangul() else language
    return FILES[kind](geometry, spoken), spoken


def said_of(drawn, language: str) -> str:
    """What is said of files that were drawn: (file, the language of its words) each."""
    lines = [DRAWN[language].format(file=file) for file, _ in drawn]
    return "\n".join([*lines, *(IN_ENGLISH.format(file=file) for file, spoken in drawn if spoken != language)])
