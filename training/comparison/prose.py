"""What stands around the tables of the comparison."""

INTRODUCTION = (
    "`{command}` measures these figures by the same code for every family, from the exported graphs alone, with ONNX "
    "Runtime on a {machine}. ± is one standard error. Less is better for FD-fmnist and for bits. The models are small "
    "and were trained for minutes of one core: compare what the families can do, not what they do at their largest."
)

SAMPLES = (
    "FD-fmnist is the Frechet distance to the training set in the features of {classifier}, not an Inception FID: it "
    "is comparable only with figures of that file and of as many images. All images are rounded to eight bits, as they "
    "are served. The row of the test images is the floor. The error is a jackknife's over tenths of the images. "
    '"Of the class asked for" is the same classifier\'s opinion; a model without classes has none.'
)

LIKELIHOOD = (
    'Bits are per dimension (a pixel, a column) or per byte of UTF-8. "exact" is the density that the model defines; '
    "for flows it is that of the data with one draw of uniform noise u, on average no less than the code length of the "
    'integers. "bound" is never less than the exact figure on average. "code" is the size of a general compressor\'s '
    "file of the test data in one piece. A GAN has no row: nothing in its game evaluates a density. Text is read in "
    "windows of the whole context: a token has half of it before it on average."
)

STRANGERS = (
    "AUROC: the probability that a stranger's score is above that of a test row. 0.5 is chance; below it, the score "
    "finds strangers more familiar than the data. Images: Fashion-MNIST's test set against MNIST digits (of its "
    "training images), the test set inverted, the test set upside down (flipped), and noise. Rows: Shuttle by "
    "ADBench's rule, fitted on normals only, hence not comparable with detectors fitted on contaminated data. -log p "
    "is the plain likelihood. The error is DeLong's."
)

DENOISING = (
    "Gaussian noise of known standard deviation on the same test images; results are clipped to [0, 1]. The classics "
    "have the strength, in sigmas, that had the best PSNR on 100 held-out images. Non-local means and total variation "
    "are scikit-image's. BM3D is our own, after Dabov et al. 2007, since the licence of its authors' package admits "
    "non-commercial use only: once with the parameters of their normal profile, and once with blocks of 4 pixels, not "
    "8, around every pixel, not every third, as 28 pixels have room for few blocks of 8."
)

SPEED = (
    "Milliseconds per item of the bare graphs on a {machine}: the best of nine calls, and in brackets their median, "
    "which other programs slow down. No queue, no HTTP, no encoding."
)
