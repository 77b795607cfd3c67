"""Normalizing flow, online: exact log-likelihood, encode, decode, sample, interpolate."""

from service.families.family import Family
from service.families.flow.pipelines import Decode, Encode, Interpolate, LogLikelihood, Sample
from service.families.flow.session import open_sessions

FAMILY = Family("flow", (LogLikelihood(), Encode(), Decode(), Sample(), Interpolate()), open_sessions)
