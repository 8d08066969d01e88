"""Train a DCGAN on scikit-learn's handwritten digits and export its generator as plain NumPy arrays.

The generator is four transposed convolutions that grow a vector of noise into a 32x32 image,
after Radford, Metz & Chintala (2015), https://arxiv.org/abs/1511.06434. The discriminator follows the same paper,
with what was learnt since about training on few images: the hinge loss, spectral normalisation instead of batch
normalisation, and random translations of real and generated images alike. What is exported is the running average
of the generator's weights, with batch normalisation folded into the convolutions and stored as float16.

The digits that come with upconv were made on a CPU, with torch 2.13, by

    python examples/dcgan.py --epochs 400 --seed 0 --threads 1 --out src/upconv/assets/digits.npz

in about 12 minutes of one core; apart from `--out` these are the default settings. Another version of torch,
another processor or another number of threads rounds differently and ends with other weights, about as good.

`--engine upconv` computes the generator's transposed convolutions with upconv instead, forwards and backwards; the
digits come out as good, not the same to the last bit. A sheet of samples is drawn after every epoch, and `--resume`
goes on from the last one, with either engine.

It needs torch, scikit-learn and pillow; tqdm is used when it is there. The digits are licensed CC BY 4.0, see DATA.md.
"""

import argparse
import copy
import json
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import upconv

try:
    from tqdm import tqdm
except ImportError:
    tqdm = None

LATENT = 16
BATCH = 64
ENGINES = ("torch", "upconv")
LAYERS = (  # in, out, stride, padding; every kernel is 4x4
    (LATENT, 96, 1, 0),  # 1x1 -> 4x4
    (96, 64, 2, 1),  # -> 8x8
    (64, 32, 2, 1),  # -> 16x16
    (32, 1, 2, 1),  # -> 32x32
)


def load_images(limit: int | None = None) -> torch.Tensor:
    """Return the digits as an (n, 1, 32, 32) tensor in [-1, 1]."""
    images = torch.tensor(load_digits().images[:limit], dtype=torch.float32)[:, None] / 16
    # The digits touch the edges of their 8x8 frames; with a margin their strokes stay round there.
    images = F.interpolate(F.pad(images, (1, 1, 1, 1)), size=(32, 32), mode="bicubic")
    # Enlarging blurs; raising the contrast around mid-grey gives the strokes clear edges again.
    return 2 * torch.sigmoid(10 * (images - 0.5)) - 1


def make_generator() -> nn.Sequential:
    modules = []
    for c_in, c_out, stride, padding in LAYERS[:-1]:
        # No bias: batch normalisation subtracts it again.
        deconv = nn.ConvTranspose2d(c_in, c_out, 4, stride, padding, bias=False)
        norm = nn.BatchNorm2d(c_out)
        nn.init.normal_(deconv.weight, 0, 0.02)
        nn.init.normal_(norm.weight, 1, 0.02)
        modules += [deconv, norm, nn.ReLU()]
    c_in, c_out, stride, padding = LAYERS[-1]
    deconv = nn.ConvTranspose2d(c_in, c_out, 4, stride, padding)
    nn.init.normal_(deconv.weight, 0, 0.02)
    nn.init.zeros_(deconv.bias)
    return nn.Sequential(*modules, deconv, nn.Tanh())


class Discriminator(nn.Sequential):
    """The generator's mirror image: 32x32 -> 16x16 -> 8x8 -> 4x4 -> one score."""

    def __init__(self):
        modules = []
        for c_in, c_out in ((1, 32), (32, 64), (64, 128)):
            modules += [self.conv(c_in, c_out, 2, 1), nn.LeakyReLU(0.2)]
        super().__init__(*modules, self.conv(128, 1, 1, 0), nn.Flatten(0))

    @staticmethod
    def conv(c_in, c_out, stride, padding):
        layer = nn.Conv2d(c_in, c_out, 4, stride, padding)
        nn.init.normal_(layer.weight, 0, 0.02)
        nn.init.zeros_(layer.bias)
        return spectral_norm(layer)

    def forward(self, images):
        # Spectral normalisation keeps the scores so close to 0 that the hinge loss would rarely reach its hinge.
        return 8 * super().forward(images)


def translate(images: torch.Tensor, reach: int = 3) -> torch.Tensor:
    """Move each image by up to `reach` pixels in both directions, differentiably.

    Real and generated images go to the discriminator this way, so it cannot learn 1797 images by heart,
    yet the generator has no reason to move its digits.
    """
    n, _, height, width = images.shape
    padded = F.pad(images, (reach,) * 4, value=-1)
    top, left = torch.randint(0, 2 * reach + 1, (2, n, 1))
    rows = (top + torch.arange(height))[:, :, None]
    columns = (left + torch.arange(width))[:, None, :]
    return padded[torch.arange(n)[:, None, None], 0, rows, columns][:, None]


class Trainer:
    """Both networks, their optimisers, and the running average of the generator that is exported."""

    def __init__(self, engine: str = "torch"):
        self.generator = make_generator()
        self.discriminator = Discriminator()
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.g_optimizer = torch.optim.Adam(self.generator.parameters(), lr=4e-4, betas=(0.5, 0.999))
        self.d_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=8e-4, betas=(0.5, 0.999))
        if engine == "upconv":
            # The one line; the optimisers keep their parameters, since the layers do.
            upconv.torch.accelerate(self.generator)

    def step(self, real: torch.Tensor) -> tuple[float, float]:
        """Update each network once; return the losses of the discriminator and of the generator."""
        fake = self.generator(torch.randn(len(real), LATENT, 1, 1))

        both = translate(torch.cat([real, fake.detach()]))
        real_score, fake_score = self.discriminator(both).chunk(2)
        d_loss = F.relu(1 - real_score).mean() + F.relu(1 + fake_score).mean()
        self.d_optimizer.zero_grad()
        d_loss.backward()
        self.d_optimizer.step()

        self.discriminator.requires_grad_(False)  # only the generator learns from the second pass
        g_loss = -self.discriminator(translate(fake)).mean()
        self.g_optimizer.zero_grad()
        g_loss.backward()
        self.g_optimizer.step()
        self.discriminator.requires_grad_(True)

        with torch.no_grad():
            for mean, new in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                mean.lerp_(new, 0.001)
        return d_loss.item(), g_loss.item()

    def epoch(self, images: torch.Tensor) -> torch.Tensor:
        """Go through the images once in random order, in full batches; return both losses of every step, (n, 2)."""
        batches = torch.randperm(len(images))[: len(images) // BATCH * BATCH].split(BATCH)
        return torch.tensor([self.step(images[batch]) for batch in batches])

    def state(self) -> dict:
        return {name: part.state_dict() for name, part in vars(self).items()}

    def load(self, state: dict) -> None:
        for name, part in vars(self).items():
            part.load_state_dict(state[name])


def fixed_noise(n: int) -> torch.Tensor:
    """The same noise each time, without touching the random numbers of the training."""
    return torch.randn(n, LATENT, 1, 1, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def settle(generator: nn.Sequential, images: int = 8192) -> nn.Sequential:
    """Return a copy in eval mode whose batch statistics are those of its own weights, over so many images.

    An average of weights never saw a batch, so its statistics have to be measured.
    """
    generator = copy.deepcopy(generator).train()
    for module in generator:
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over the batches
    for noise in fixed_noise(images).split(1024):
        generator(noise)
    return generator.eval()


@torch.no_grad()
def fold(generator: nn.Sequential) -> dict[str, np.ndarray]:
    """Return `layer{i}.weight` and `layer{i}.bias`, with batch normalisation folded in."""
    arrays = {}
    deconvs = [module for module in generator if isinstance(module, nn.ConvTranspose2d)]
    norms = [module for module in generator if isinstance(module, nn.BatchNorm2d)]
    for i, deconv in enumerate(deconvs):
        weight, bias = deconv.weight, deconv.bias
        if i < len(norms):
            norm = norms[i]
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = weight * scale[:, None, None]  # (in, out, 4, 4): the scale belongs to `out`
            bias = norm.bias - scale * norm.running_mean
        arrays[f"layer{i}.weight"] = weight.numpy().astype(np.float16)
        arrays[f"layer{i}.bias"] = bias.numpy().astype(np.float16)
    return arrays


def draw(arrays: dict[str, np.ndarray], noise: torch.Tensor) -> torch.Tensor:
    """Generate images from exported arrays."""
    x = noise
    for i, (_, _, stride, padding) in enumerate(LAYERS):
        weight, bias = (torch.from_numpy(arrays[f"layer{i}.{name}"]).float() for name in ("weight", "bias"))
        x = F.conv_transpose2d(x, weight, bias, stride, padding)
        x = torch.tanh(x) if i == len(LAYERS) - 1 else torch.relu(x)
    return x


@contextmanager
def replacing(path: Path):
    """Open a file that takes the place of `path` only once it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def save_sheet(images: torch.Tensor, path: Path) -> None:
    """Save 64 images as one PNG of 8x8."""
    pixels = (127.5 * images + 127.5).round().to(torch.uint8)
    sheet = pixels.reshape(8, 8, 32, 32).transpose(1, 2).reshape(256, 256)
    with replacing(path) as file:
        Image.fromarray(sheet.numpy()).resize((768, 768), Image.Resampling.NEAREST).save(file, format="PNG")


def export(generator: nn.Sequential, path: Path, seed: int, epochs: int) -> None:
    arrays = fold(generator)
    noise = fixed_noise(256)
    with torch.no_grad():
        error = (draw(arrays, noise) - generator(noise)).abs().max().item()
    if error > 0.02:  # images span 2, and float16 keeps three digits
        raise RuntimeError(f"the exported generator differs from the trained one by {error:.3g}")
    meta = {
        "latent": LATENT,
        "stride": [stride for _, _, stride, _ in LAYERS],
        "padding": [padding for _, _, _, padding in LAYERS],
        "activation": ["relu"] * (len(LAYERS) - 1) + ["tanh"],
        "seed": seed,
        "epochs": epochs,
        "trained_by": "examples/dcgan.py",
        "data": "Optical Recognition of Handwritten Digits (Alpaydin & Kaynak 1998), test set, as in scikit-learn",
        "data_license": "CC BY 4.0",
    }
    with replacing(path) as file:
        np.savez_compressed(file, **arrays, meta=np.array(json.dumps(meta)))
    print(f"\n{path}: {path.stat().st_size / 1000:.0f} kB, differs from the trained generator by at most {error:.1e}")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a DCGAN on handwritten digits and export its generator.")
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="train on this many images only, to try things out")
    parser.add_argument("--out", type=Path, default=Path("digits.npz"), help="the exported generator")
    parser.add_argument("--samples", type=Path, default=Path("samples"), help="folder of sample sheets and checkpoint")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the samples folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--engine", choices=ENGINES, default="torch", help="of the generator's layers (torch)")
    args = parser.parse_args(argv)
    if args.limit is not None and args.limit < BATCH:
        parser.error(f"--limit must be at least one batch, {BATCH}")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    images = load_images(args.limit)
    trainer = Trainer(args.engine)
    start, checkpoint = 0, args.samples / "checkpoint.pt"
    if args.resume:
        saved = torch.load(checkpoint, weights_only=True)
        if (saved["seed"], saved["limit"]) != (args.seed, args.limit):
            raise SystemExit(f"{checkpoint} was trained with --seed {saved['seed']} --limit {saved['limit']}")
        start = saved["epoch"]
        if start > args.epochs:
            raise SystemExit(f"{checkpoint} is past --epochs {args.epochs}, at {start}")
        trainer.load(saved["trainer"])
        torch.set_rng_state(saved["rng"])

    epochs = range(start + 1, args.epochs + 1)
    progress = tqdm(epochs, unit="epoch") if tqdm else epochs
    for epoch in progress:
        d_loss, g_loss = trainer.epoch(images).mean(dim=0).tolist()
        losses = f"loss of D {d_loss:.3f}, of G {g_loss:+.3f}"
        if tqdm:
            progress.set_postfix_str(losses)
        else:
            print(f"\repoch {epoch}/{args.epochs}  {losses}", end="", flush=True)
        with replacing(checkpoint) as file:
            state = {"seed": args.seed, "limit": args.limit, "epoch": epoch, "rng": torch.get_rng_state()}
            torch.save({**state, "trainer": trainer.state()}, file)
        # A sheet shows less than a file of weights that others use, so its statistics need fewer images.
        save_sheet(draw(fold(settle(trainer.average, 1024)), fixed_noise(64)), args.samples / f"epoch{epoch:04d}.png")

    export(settle(trainer.average), args.out, args.seed, args.epochs)


if __name__ == "__main__":
    main()
