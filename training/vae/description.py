"""The prose of the autoencoders' model cards."""

from training.publish import Description

BOUND = (
    "log_likelihood, kl and log_weight are in nats and of probabilities, not densities: an entry is an integer, and "
    "its probability the mass of its cell. calibration.npz holds, sorted, for the held-out rows with one draw of "
    "standard normal noise each: elbo_held_out (log_likelihood - kl), reconstruction_held_out (log_likelihood), "
    "kl_held_out (kl, which needs no noise). auroc_*_elbo and auroc_*_reconstruction take the lower value as the "
    "stranger, auroc_*_kl the higher."
)

FASHION = Description(
    summary="A convolutional variational autoencoder (Kingma and Welling 2014, arXiv:1312.6114) of 28x28 grey images, "
    "with a mixture of five discretised logistics over the 256 levels of each pixel (PixelCNN++: Salimans et al. "
    "2017, arXiv:1701.05517) and a KL term warmed up over the first steps. Trained without labels. The picture shows "
    "twice a row of test images over their reconstructions, then three rows of expected images and three of draws.",
    data="Fashion-MNIST: 55,000 images to train, 5,000 held out for the calibration, 10,000 to test. Strangers, 2,000 "
    "each: handwritten digits (training images of MNIST), and the first test images inverted, upside down (flipped), "
    "and replaced by uniform noise.",
    intended_use="Anomaly scores with a map per pixel, codes, reconstructions and samples of images like those of "
    "Fashion-MNIST; pixels are k / 255. " + BOUND,
    limits="A small model, minutes of one core. The posterior is approximate and the ELBO a bound. Given the code, "
    "pixels are independent: expected images are blurred, draws are noisy (fd_fmnist of both is given). Strangers that "
    "are simpler than clothing can score as more likely than clothing, as digits do: below 0.5, an AUROC says that the "
    "score is fooled.",
)

SHUTTLE = Description(
    summary="A fully connected variational autoencoder (Kingma and Welling 2014, arXiv:1312.6114) of the nine integer "
    "columns of Statlog Shuttle, with a mixture of four discretised logistics per column over cells of one unit. "
    "Trained on normal rows only; raw columns go in, the standardisation is part of the graphs. The picture compares "
    "held-out normals with samples.",
    data="Statlog Shuttle by ADBench's rule: class High dropped, an outlier is what is not Rad.Flow (49,097 rows, "
    "3,511 outliers). 27,000 normals to train, 5,000 held out for the calibration, 13,586 normals and all outliers to "
    "test. Likelihoods are over the test normals. Fitted on normals only: not comparable with detectors fitted on "
    "contaminated data.",
    intended_use="Anomaly scores, codes and reconstructions of such rows; an example of a tabular autoencoder. "
    + BOUND,
    limits="Columns are unnamed sensor readings (V1 to V9, as the source calls them). A row must be integers for its "
    "scores to be probabilities; other numbers are scored by the mass within half a unit of them.",
)
