"""Which models of a store are compared, as which family, and everything that is measured of them."""

from collections.abc import Callable, Mapping, Sequence

from model_store.manifest import DiffusionParams, FlowParams, GanParams, TransformerParams, VaeParams
from model_store.store import Model, Store
from training.comparison.denoising import denoised
from training.comparison.diffusion import DiffusionSubject
from training.comparison.entry import evaluate
from training.comparison.estimate import Estimate
from training.comparison.flow import FlowSubject
from training.comparison.gan import GanSubject
from training.comparison.report import Comparison
from training.comparison.samples import judge
from training.comparison.sets import Domain, Sets
from training.comparison.subject import Likelihood, Samples, Subject
from training.comparison.transformer import TransformerSubject
from training.comparison.vae import VaeSubject
from training.evaluate import Scorer
from training.publish import machine
from training.transformer.measure import packed_sizes

UNITS: Mapping[Domain, str] = {"images": "bits/dim", "text": "bits/byte"}
FAMILIES = GanSubject, DiffusionSubject, FlowSubject, TransformerSubject, VaeSubject


def subject_of(model: Model) -> Subject:
    """The model as one of its family. Raises TypeError for a family that is not compared."""
    match model.manifest.params:
        case GanParams() as params:
            return GanSubject(model, params)
        case DiffusionParams() as params:
            return DiffusionSubject(model, params)
        case FlowParams() as params:
            return FlowSubject(model, params)
        case TransformerParams() as params:
            return TransformerSubject(model, params)
        case VaeParams() as params:
            return VaeSubject(model, params)
    raise TypeError(f"{model.ref}: the family {model.manifest.params.family!r} is not compared")


def subjects(store: Store) -> list[Subject]:
    """Every version whose graphs are ONNX, in the order of the families; a TorchScript twin has the same weights."""
    models = [
        model for model in store.models() if all(spec.format == "onnx" for spec in model.manifest.graphs.values())
    ]
    return sorted(map(subject_of, models), key=lambda subject: FAMILIES.index(type(subject)))


def comparison(
    models: Sequence[Subject], sets: Sets, seed: int, command: str, say: Callable[[str], None]
) -> Comparison:
    """Measure everything; `say` is told what is being measured."""
    scorer = Scorer()
    entries = [evaluate(subject, sets, scorer, seed, say) for subject in models]
    say("the floor, compressors, classic denoisers")
    domains = {subject.domain for subject in models}
    with_images = "images" in domains
    return Comparison(
        command=command,
        machine=machine(),
        classifier=", ".join(f"{file} (sha256 {sha256})" for file, sha256 in scorer.provenance.items()),
        families=[subject.family for subject in FAMILIES],
        entries=entries,
        floor=[judge(Samples("test images", sets.images.test), scorer)] if with_images else [],
        codes=[code for domain in UNITS if domain in domains for code in codes(sets, domain)],
        denoised=list(denoised(models, sets, seed)) if with_images else [],
    )


def codes(sets: Sets, domain: Domain) -> list[tuple[str, Likelihood]]:
    """What general compressors make of the test rows."""
    data = sets.test_bytes(domain)
    sizes = {name: Estimate(8 * size / len(data), 0) for name, size in packed_sizes(data).items()}
    return [
        (name, Likelihood(f"the test {domain}", "code", UNITS[domain], bits, "one file"))
        for name, bits in sizes.items()
    ]
