"""What `upconv explain` draws into files, by their kind."""

from .animation import animation
from .layer import layer_scene
from .raster import gif, png
from .svg import svg

FILES = {
    "svg": lambda geometry: svg(layer_scene(geometry)).encode(),
    "png": lambda geometry: png(layer_scene(geometry)),
    "gif": lambda geometry: gif(animation(geometry)),
}
