"""The loader of models that earlier versions registered with MLflow; they name ``rigsl.served`` for it.

New models name `rigsl.inference.served`, where the code is.
"""

from rigsl.inference.served import ServedModel, _load_pyfunc

__all__ = ["ServedModel", "_load_pyfunc"]
