"""Models whose transposed convolutions people run, written compactly, with random weights.

    MODELS[name](scale)   -> (module, inputs); scale 1 is the published size, smaller ones are narrower and see less

Each is the published architecture as far as speed is concerned; nothing here was trained. Run by itself, it lists them.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm


def wide(channels, scale, least=4):
    """A number of channels at a scale, a multiple of `least`."""
    return max(least, round(channels * scale / least) * least)


def dcgan(scale=1.0):
    """Generator of Radford et al. 2015, https://arxiv.org/abs/1511.06434: noise to 64x64 images, 16 at a time."""
    widths = [wide(c, scale) for c in (512, 256, 128, 64)]
    modules, c_in = [], wide(100, scale)
    noise = torch.randn(16, c_in, 1, 1)
    for place, c_out in enumerate(widths):
        deconv = nn.ConvTranspose2d(c_in, c_out, 4, 2 if place else 1, 1 if place else 0, bias=False)
        modules += [deconv, nn.BatchNorm2d(c_out), nn.ReLU(True)]
        c_in = c_out
    return nn.Sequential(*modules, nn.ConvTranspose2d(c_in, 3, 4, 2, 1, bias=False), nn.Tanh()), (noise,)


class Gan(nn.Module):
    """A generator and the discriminator that judges it: noise to scores."""

    def __init__(self, generator, width):
        super().__init__()
        modules, c_in = [], 3
        for place in range(4):
            c_out = width << place
            modules.append(nn.Conv2d(c_in, c_out, 4, 2, 1, bias=False))
            modules += [nn.BatchNorm2d(c_out)] if place else []
            modules.append(nn.LeakyReLU(0.2))
            c_in = c_out
        self.generator, self.discriminator = generator, nn.Sequential(*modules, nn.Conv2d(c_in, 1, 4, bias=False))

    def forward(self, noise):
        return self.discriminator(self.generator(noise)).flatten(1)


def gan(scale=1.0):
    """The DCGAN's generator through its discriminator, whose gradients are a generator's training step."""
    generator, inputs = dcgan(scale)
    return Gan(generator, wide(64, scale)), inputs


class Skip(nn.Module):
    """One level of the U-Net of pix2pix: down, what lies within, up; and beside that the input itself."""

    def __init__(self, c_outer, c_inner, within=None, c_in=None, last=False):
        super().__init__()
        down = nn.Conv2d(c_in or c_outer, c_inner, 4, 2, 1, bias=False)
        up = nn.ConvTranspose2d(c_inner * (1 if within is None else 2), c_outer, 4, 2, 1, bias=last)
        before = [] if last else [nn.LeakyReLU(0.2)]
        middle = [] if within is None else ([] if last else [nn.BatchNorm2d(c_inner)]) + [within]
        after = [nn.Tanh()] if last else [nn.BatchNorm2d(c_outer)]
        self.last, self.model = last, nn.Sequential(*before, down, *middle, nn.ReLU(), up, *after)

    def forward(self, x):
        return self.model(x) if self.last else torch.cat([x, self.model(x)], 1)


def pix2pix(scale=1.0):
    """U-Net of Isola et al. 2017, https://arxiv.org/abs/1611.07004: eight levels, 256x256."""
    c = wide(64, scale)
    block = None
    for c_outer, c_inner in ((8, 8), (8, 8), (8, 8), (8, 8), (4, 8), (2, 4), (1, 2)):
        block = Skip(c * c_outer, c * c_inner, block)
    return Skip(3, c, block, c_in=3, last=True), (torch.randn(1, 3, 256, 256),)


class UNet(nn.Module):
    """Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597, with padded convolutions."""

    def __init__(self, width, levels=4, classes=2):
        super().__init__()
        widths = [width << level for level in range(levels + 1)]
        self.down = nn.ModuleList(self.block(i, o) for i, o in zip([1, *widths], widths, strict=False))
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in pairs)
        self.join = nn.ModuleList(self.block(i, o) for i, o in pairs)
        self.head = nn.Conv2d(width, classes, 1)

    @staticmethod
    def block(c_in, c_out):
        return nn.Sequential(nn.Conv2d(c_in, c_out, 3, 1, 1), nn.ReLU(), nn.Conv2d(c_out, c_out, 3, 1, 1), nn.ReLU())

    def forward(self, x):
        kept = []
        for block in self.down[:-1]:
            x = block(x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = self.down[-1](x)
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([kept.pop(), up(x)], 1))
        return self.head(x)


def unet(scale=1.0):
    """A U-Net whose layers up are 2x2 with stride 2, on 256x256."""
    side = max(32, int(256 * scale) // 32 * 32)
    return UNet(wide(32, scale)), (torch.randn(1, 1, side, side),)


def fsrcnn(scale=1.0):
    """Dong et al. 2016, https://arxiv.org/abs/1608.00367: 128x128 to three times that by a 9x9 layer."""
    d, s, side = wide(56, scale), wide(12, scale), max(16, int(128 * scale))
    modules = [nn.Conv2d(1, d, 5, padding=2), nn.PReLU(d), nn.Conv2d(d, s, 1), nn.PReLU(s)]
    for _ in range(4):
        modules += [nn.Conv2d(s, s, 3, padding=1), nn.PReLU(s)]
    modules += [nn.Conv2d(s, d, 1), nn.PReLU(d), nn.ConvTranspose2d(d, 1, 9, 3, 4, output_padding=2)]
    return nn.Sequential(*modules), (torch.randn(1, 1, side, side),)


class Residual(nn.Module):
    """HiFi-GAN's residual block: dilated convolutions in one dimension."""

    def __init__(self, c, k):
        super().__init__()
        self.dilated = nn.ModuleList(conv1d(c, c, k, d) for d in (1, 3, 5))
        self.plain = nn.ModuleList(conv1d(c, c, k) for _ in range(3))

    def forward(self, x):
        for dilated, plain in zip(self.dilated, self.plain, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, 0.1)), 0.1))
        return x


def conv1d(c_in, c_out, k, d=1):
    return weight_norm(nn.Conv1d(c_in, c_out, k, padding=d * (k - 1) // 2, dilation=d))


class HifiGan(nn.Module):
    """Kong et al. 2020, https://arxiv.org/abs/2010.05646, configuration v1: spectrogram to 256 samples a frame."""

    def __init__(self, width):
        super().__init__()
        self.first, self.up, self.blocks = conv1d(80, width, 7), nn.ModuleList(), nn.ModuleList()
        for k, s in ((16, 8), (16, 8), (4, 2), (4, 2)):
            self.up.append(weight_norm(nn.ConvTranspose1d(width, width // 2, k, s, (k - s) // 2)))
            width //= 2
            self.blocks.append(nn.ModuleList(Residual(width, size) for size in (3, 7, 11)))
        self.last = conv1d(width, 1, 7)

    def forward(self, x):
        x = self.first(x)
        for up, blocks in zip(self.up, self.blocks, strict=True):
            x = up(F.leaky_relu(x, 0.1))
            x = sum(block(x) for block in blocks) / len(blocks)
        return torch.tanh(self.last(F.leaky_relu(x)))


def hifigan(scale=1.0):
    """HiFi-GAN's generator on 32 frames, weights under weight_norm as in training."""
    return HifiGan(wide(512, scale, 64)), (torch.randn(1, 80, max(4, int(32 * scale))),)


class FcnHead(nn.Module):
    """Shelhamer et al. 2017, https://arxiv.org/abs/1605.06211: scores at strides 8, 16 and 32 to full size."""

    def __init__(self, widths, classes=21):
        super().__init__()
        self.scores = nn.ModuleList(nn.Conv2d(c, classes, 1) for c in widths)
        self.up = nn.ModuleList(nn.ConvTranspose2d(classes, classes, 4, 2, 1, bias=False) for _ in range(2))
        self.full = nn.ConvTranspose2d(classes, classes, 16, 8, 4, bias=False)

    def forward(self, pool3, pool4, fc7):
        x = self.up[0](self.scores[2](fc7)) + self.scores[1](pool4)
        return self.full(self.up[1](x) + self.scores[0](pool3))


def fcn8s(scale=1.0):
    """The head of FCN-8s for an image of 512x512."""
    widths, side = [wide(c, scale) for c in (256, 512, 4096)], max(2, int(16 * scale))
    maps = [torch.randn(1, c, side << 2 - place, side << 2 - place) for place, c in enumerate(widths)]
    return FcnHead(widths), tuple(maps)


class Node(nn.Sequential):
    """A convolution, its norm, its activation; CenterNet has a deformable convolution here."""

    def __init__(self, c_in, c_out):
        super().__init__(nn.Conv2d(c_in, c_out, 3, 1, 1), nn.BatchNorm2d(c_out), nn.ReLU())


class IdaUp(nn.Module):
    """Iterative deep aggregation: maps of several sizes to the largest, by depthwise layers up."""

    def __init__(self, c, widths, factors):
        super().__init__()
        self.project = nn.ModuleList(Node(width, c) for width in widths[1:])
        self.up = nn.ModuleList(nn.ConvTranspose2d(c, c, 2 * f, f, f // 2, groups=c, bias=False) for f in factors[1:])
        self.join = nn.ModuleList(Node(c, c) for _ in widths[1:])

    def forward(self, maps):
        done = [maps[0]]
        for other, project, up, join in zip(maps[1:], self.project, self.up, self.join, strict=True):
            done.append(join(up(project(other)) + done[-1]))
        return done


class DlaUp(nn.Module):
    """The decoder of CenterNet with DLA-34, Zhou et al. 2019, https://arxiv.org/abs/1904.07850, and its heat map."""

    def __init__(self, widths):
        super().__init__()
        self.ida, count = nn.ModuleList(), len(widths)
        for level in range(count - 2, -1, -1):
            inner = [widths[level]] + [widths[level + 1]] * (count - 1 - level)
            self.ida.append(IdaUp(widths[level], inner, [1] + [2] * (count - 1 - level)))
        self.last = IdaUp(widths[0], widths[:-1], [2**level for level in range(count - 1)])
        self.head = nn.Sequential(nn.Conv2d(widths[0], 256, 3, 1, 1), nn.ReLU(), nn.Conv2d(256, 80, 1))

    def forward(self, *maps):
        maps, kept = list(maps), []
        for count, ida in enumerate(self.ida, 2):
            maps[-count:] = ida(maps[-count:])
            kept.insert(0, maps[-1])
        return self.head(self.last(kept)[-1])


def centernet(scale=1.0):
    """The depthwise decoder of CenterNet-DLA for an image of 256x256."""
    widths, side = [wide(c, scale) for c in (64, 128, 256, 512)], max(16, int(64 * scale) // 8 * 8)
    maps = tuple(torch.randn(1, c, side >> level, side >> level) for level, c in enumerate(widths))
    return DlaUp(widths), maps


MODELS = {
    "DCGAN generator": dcgan,
    "DCGAN through its discriminator": gan,
    "pix2pix U-Net": pix2pix,
    "U-Net, k2s2": unet,
    "FSRCNN x3": fsrcnn,
    "HiFi-GAN v1 generator": hifigan,
    "FCN-8s head": fcn8s,
    "CenterNet-DLA decoder": centernet,
}


def build(name, scale=1.0, seed=0, builders=MODELS):
    """A model of `MODELS`, or of another such table, and its inputs: the same for the same seed.

    The random numbers of others are left alone. Batch statistics that were never measured would let nothing through
    after many levels, so biases and statistics are random, too.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, inputs = builders[name](scale)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
                nn.init.normal_(module.weight, 1, 0.1)
                nn.init.normal_(module.bias, 0, 0.1)
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return model, inputs


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("\n".join(MODELS))
