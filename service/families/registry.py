"""The families that are served."""

from service.families import diffusion, flow, vae
from service.families.family import Family

__all__ = ["FAMILIES", "Family"]

FAMILIES: tuple[Family, ...] = (flow.FAMILY, diffusion.FAMILY, vae.FAMILY)
