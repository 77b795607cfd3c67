"""Generative adversarial network, online: sample, interpolate, score."""

from service.families.family import Family
from service.families.gan.interpolate import Interpolate
from service.families.gan.sample import Sample
from service.families.gan.score import Score
from service.families.gan.session import open_sessions

FAMILY = Family("gan", (Sample(), Interpolate(), Score()), open_sessions)
