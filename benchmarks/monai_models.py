"""Networks on volumes as MONAI builds them, with random weights: its own UNet, and DynUNet, which is nnU-Net's.

    MODELS[name](scale)   -> (module, inputs); scale 1 is the published width on patches of 64 x 64 x 64

monai is no requirement of upconv: ``pip install --no-deps monai`` beside torch is enough.
Run by itself, it lists them.
"""

import argparse

import torch

ABSENT = "monai is not installed: pip install --no-deps monai (it takes the torch that is there), or leave out --monai"


def width(channels, scale):
    return max(4, round(channels * scale / 4) * 4)


def side(scale):
    """A patch's side, a multiple of what five levels divide by."""
    return max(32, int(64 * scale) // 32 * 32)


def unet(scale=1.0):
    """The network of MONAI's tutorial on the spleen: residual units, layers up of kernel 3 and stride 2."""
    from monai.networks.nets import UNet

    channels = [width(c, scale) for c in (16, 32, 64, 128, 256)]
    model = UNet(3, 1, 2, channels, (2, 2, 2, 2), num_res_units=2, norm="batch")
    return model, (torch.randn(1, 1, *[side(scale)] * 3),)


def nnunet(scale=1.0):
    """nnU-Net's full-resolution network for isotropic volumes: instance norms, layers up of kernel 2 and stride 2."""
    from monai.networks.nets import DynUNet

    filters, strides = [width(c, scale) for c in (32, 64, 128, 256, 320)], (1, 2, 2, 2, 2)
    model = DynUNet(3, 1, 3, [3] * 5, strides, strides[1:], filters)
    return model, (torch.randn(1, 1, *[side(scale)] * 3),)


def anisotropic(scale=1.0):
    """nnU-Net's network for thick slices, as of the prostate: the first level up in the plane alone, k(1,2,2)."""
    from monai.networks.nets import DynUNet

    filters, strides = [width(c, scale) for c in (32, 64, 128, 256)], (1, (1, 2, 2), 2, 2)
    kernels = [(1, 3, 3), 3, 3, 3]
    model = DynUNet(3, 1, 3, kernels, strides, strides[1:], filters)
    return model, (torch.randn(1, 1, 16, *[side(scale)] * 2),)


MODELS = {
    "MONAI UNet, k3s2": unet,
    "nnU-Net (MONAI DynUNet), k2s2": nnunet,
    "nnU-Net (MONAI DynUNet), k(1,2,2)": anisotropic,
}


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("\n".join(MODELS))
