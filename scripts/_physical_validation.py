"""The package physical_validation (P. T. Merz and M. R. Shirts, PLoS ONE 13, e0202764 (2018)), without what it and pymbar say on the way."""
from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """physical_validation and pymbar speak at length; what they find is in what they return."""
    logging.getLogger("pymbar").setLevel(logging.ERROR)
    logging.getLogger("pymbar.timeseries").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def physical_validation() -> Any:
    """The package, imported without its greetings."""
    with quietly():
        logging.disable(logging.WARNING)
        try:
            import physical_validation as package
        except ImportError:
            raise SystemExit("validate_ensembles needs the package physical_validation: pip install .[validation].") from None
        finally:
            logging.disable(logging.NOTSET)
    return package
