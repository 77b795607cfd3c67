"""Diffusion, online: sampling and enhancement, step by step."""

from service.families.diffusion.enhance import Enhance
from service.families.diffusion.sample import Sample
from service.families.diffusion.session import open_sessions
from service.families.family import Family

FAMILY = Family("diffusion", (Sample(), Enhance()), open_sessions)
