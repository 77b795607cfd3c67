"""Transformer, online: generate and score text token by token, tokenize and detokenize it."""

from service.families.family import Family
from service.families.transformer.detokenize import Detokenize
from service.families.transformer.generate import Generate
from service.families.transformer.score import Score
from service.families.transformer.session import open_sessions
from service.families.transformer.tokenize import Tokenize

FAMILY = Family("transformer", (Generate(), Score(), Tokenize(), Detokenize()), open_sessions)
