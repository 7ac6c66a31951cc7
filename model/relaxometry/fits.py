"""The product's fits as the generator of synthetic maps wants them."""

from __future__ import annotations

from torch import Tensor

from model.relaxometry.molli import fit_molli
from model.relaxometry.t2prep import fit_t2prep
from model.synthesis.physics import Fits, Fitted


def _t1(images: Tensor, times_ms: Tensor) -> Fitted:
    fit = fit_molli(images, times_ms)
    return Fitted(fit.t1, fit.sd, fit.failed)


def _t2(images: Tensor, times_ms: Tensor) -> Fitted:
    fit = fit_t2prep(images, times_ms)
    return Fitted(fit.t2, fit.sd, fit.failed)


PRODUCT_FITS = Fits(t1=_t1, t2=_t2)
