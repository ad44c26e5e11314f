"""Loads models that were registered before the package was divided: MLflow finds this module by its name.

Such a model names ``rigsl.served`` as its loader module. New ones name `rigsl.inference.served`.
"""

from rigsl.inference.served import ServedModel, _load_pyfunc

__all__ = ["ServedModel", "_load_pyfunc"]
