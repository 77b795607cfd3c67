"""Images held to what was measured of them: on the way, and at the end.

Pixels are in [0, 1] outside and in [-1, 1], the model's scale, inside; noise levels scale with them.
"""

import numpy as np

from service.arrays import Array
from service.families.diffusion.operators import Average, Mask, Operator, into_box, project, residual
from service.families.diffusion.parameters import Denoising
from service.families.session import dense, parameters_of
from service.jobs import Block


def to_model_scale(pixels: Array) -> Array:
    return 2 * pixels - 1


def to_pixels(x: Array) -> Array:
    return np.clip((x + 1) / 2, 0, 1)


def operator_of(block: Block) -> Operator:
    """What was measured of images that are to be super-resolved or inpainted."""
    asked = parameters_of(block, Denoising)
    if asked.task == "super_resolve":
        return Average(asked.factor)
    return Mask(block.shared["mask"] if "mask" in block.shared else dense(block, "mask"))


def hold_to_measurement(block: Block, x0: Array) -> Array:
    """The images nearest to x0 [k, C, H, W] that agree with the block's measurements, if it has any."""
    if not parameters_of(block, Denoising).measured:
        return x0
    return project(operator_of(block), to_model_scale(dense(block, "measurement")), x0)


def restored_columns(block: Block, images: Array) -> dict[str, Array]:
    """The result of pixels [k, C, H, W]: consistent with the measurements, or with the noise level that was used."""
    task = parameters_of(block, Denoising).task
    if task == "sample":
        return {"image": images}
    if task == "denoise":
        return {"image": images, "sigma": dense(block, "sigma")}
    # One by one: each needs a number of projections of its own.
    one_by_one = [slice(place, place + 1) for place in range(len(block))]
    found = [_consistent(block[one], images[one]) for one in one_by_one]
    errors = np.array([error for _, error in found])
    return {"image": np.concatenate([image for image, _ in found]), "consistency_error": errors}


def _consistent(block: Block, image: Array) -> tuple[Array, float]:
    """One image made consistent with y, and max |A x - y|: the larger of its own and of its 8-bit picture's."""
    operator, y = operator_of(block), dense(block, "measurement")
    image = into_box(operator, y, image)
    rounded = np.rint(image * 255) / np.float32(255)
    return image, max(residual(operator, y, image), residual(operator, y, rounded))
