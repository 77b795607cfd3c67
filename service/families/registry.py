"""The families that are served."""

from service.families import diffusion, flow, gan, transformer, vae
from service.families.family import Family

__all__ = ["FAMILIES", "Family"]

FAMILIES: tuple[Family, ...] = (flow.FAMILY, diffusion.FAMILY, transformer.FAMILY, vae.FAMILY, gan.FAMILY)
