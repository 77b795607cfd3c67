"""Variational autoencoder, online: anomaly, the ELBO, encode, decode, reconstruct, sample."""

from service.families.family import Family
from service.families.vae.anomaly import Anomaly
from service.families.vae.elbo import Elbo
from service.families.vae.pipelines import Decode, Encode, Reconstruct, Sample
from service.families.vae.session import open_sessions

FAMILY = Family("vae", (Anomaly(), Elbo(), Encode(), Decode(), Reconstruct(), Sample()), open_sessions)
