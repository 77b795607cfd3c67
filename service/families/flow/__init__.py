"""Normalizing flow, online: exact log-likelihood, encode, decode, sample, interpolate."""

from service.families.family import Family
from service.families.flow.decode import Decode
from service.families.flow.encode import Encode
from service.families.flow.interpolate import Interpolate
from service.families.flow.log_likelihood import LogLikelihood
from service.families.flow.sample import Sample
from service.families.flow.session import open_sessions

FAMILY = Family("flow", (LogLikelihood(), Encode(), Decode(), Sample(), Interpolate()), open_sessions)
