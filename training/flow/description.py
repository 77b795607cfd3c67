"""The prose of the flows' model cards."""

from training.publish import Description

DENSITY = (
    "All densities are per data cell (one integer step of the data is the volume 1), so that bits per dimension are "
    "-log_prob / (D ln 2). A value is scored after one draw of uniform dequantisation noise, an input of the graph: "
    "log_prob is the integrand of the usual lower bound E_u[log p(x + u)] <= log P(x), not P(x) itself."
)

SHUTTLE = Description(
    summary="A normalizing flow of rational-quadratic spline couplings (Durkan et al. 2019, arXiv:1906.04032) on the "
    "nine integer columns of Statlog Shuttle. Trained by maximum likelihood on normal rows only; raw columns go in, "
    "the standardisation and its log-determinant are part of the graph. The picture compares held-out normals with "
    "samples. Version 1-torchscript holds the same weights as TorchScript.",
    data="Statlog Shuttle by ADBench's rule: class High dropped, an outlier is what is not Rad.Flow (49,097 rows, "
    "3,511 outliers). 27,000 normals to train, 5,000 held out for the calibration, 13,586 normals and all outliers to "
    "test. Likelihood and round-trip figures are over the test normals, auroc_outliers over the whole test part, with "
    "-log_prob as the score. Fitted on normals only: not comparable with detectors fitted on contaminated data.",
    intended_use="Exact log-likelihood, anomaly scores and samples of such rows; an example of a tabular flow. "
    + DENSITY,
    limits="Columns are unnamed sensor readings (V1 to V9, as the source calls them). Values are rounded to integers. "
    "The graphs compute in double precision and take and return float32. A few rows lie thousands of units from the "
    "rest: there the flow is so steep that a latent rounded to float32 does not give the row back, and the round-trip "
    "error of the answer says so.",
)

FASHION = Description(
    summary="A multi-scale normalizing flow (RealNVP: Dinh et al. 2017, arXiv:1605.08803; Glow: Kingma and Dhariwal "
    "2018, arXiv:1807.03039) on 28x28 grey images: logit with alpha 0.05, then ActNorm, 1x1 convolution and affine "
    "coupling at 14x14 and 7x7. Trained by maximum likelihood, without labels.",
    data="Fashion-MNIST: 55,000 images to train, 5,000 held out for the calibration, 10,000 to test. "
    "fd_fmnist_samples is over as many samples as there are test images; fd_fmnist_floor is the same distance for the "
    "test images themselves.",
    intended_use="Exact log-likelihood, exact latents, round trips and samples of Fashion-MNIST-like images; pixels "
    "are k / 255. " + DENSITY,
    limits="A small model, minutes of one core: its likelihoods are good, its samples are rough. The likelihood alone "
    "does not tell out-of-distribution images: simpler images, such as digits, score higher than the data.",
)
