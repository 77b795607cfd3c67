"""The prose of the GANs' model cards."""

from training.publish import Description

DATA = (
    "Fashion-MNIST: 55,000 images to train, 5,000 held out, 10,000 to test. FD-fmnist is the Frechet distance to the "
    "training set in the features of training/metrics/classifier-fashion; its floor is that of the 10,000 test images. "
    "Critic figures compare the test images with as many generated ones. calibration.npz holds, sorted, the logits of "
    "the held-out images and of 5,000 generated ones of the same classes."
)
LIMITS = (
    "It knows nothing but these ten kinds of clothing, and a GAN gives no likelihood and no promise to cover the data. "
    "The critic is trained to tell its own generator's images from data: its logit is no measure of quality elsewhere. "
    "FD-fmnist cannot be compared with any published FID."
)

RELATIVISTIC = Description(
    summary="A class-conditional GAN of 28x28 clothing images: the relativistic game with gradient penalties on data "
    "and on generated images (R3GAN: Huang et al. 2024, arXiv:2501.05441), Adam without momentum, averaged weights, "
    "no normalisation and no batch statistics. Logits are centred between the means of held-out and generated images, "
    "for the game itself knows differences only. The picture shows 100 samples, one class per column. Its baseline is "
    "gan-fashion-minimax: the same networks and minutes, the same figures in its card.",
    data=DATA,
    intended_use="Sampling by class, interpolating between samples, and asking the critic for its opinion.",
    limits=LIMITS,
)

MINIMAX = Description(
    summary="The minimax game of the first GANs (Goodfellow et al. 2014, arXiv:1406.2661), its generator with the "
    "non-saturating loss -log D(G(z)), between the same two networks as gan-fashion and for the same minutes: a "
    "baseline. The picture shows 100 samples, one class per column.",
    data=DATA,
    intended_use="Comparison with gan-fashion.",
    limits=LIMITS,
)
