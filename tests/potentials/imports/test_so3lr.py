"""SO3LR's parameters come in from either of their files, whole, or are refused by name. (What they say is held in `architectures`.)"""
from pathlib import Path

import numpy as np
import pytest
import torch

from potentials.imports import imports

WEIGHTS = Path(__file__).resolve().parents[4] / "shared" / "reference" / "so3lr" / "weights"
FIRST = "feature_embeddings_0.Embed_0.embedding"
pytestmark = pytest.mark.skipif(not WEIGHTS.exists(), reason=f"SO3LR's parameters are not here ({WEIGHTS})")


def test_the_pickle_and_the_plain_archive_hold_the_same():
    one, other = (imports.get("so3lr")(WEIGHTS / name) for name in ("so3lr_params.npz", "params.pkl"))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert sum(p.numel() for p in one.parameters()) == 530_238  # as published
    assert one.elements == (1, 6, 7, 8, 9, 15, 16, 17) and one.knows_charge and one.card.licence


CHANGES = {
    "missing": (lambda a: a.pop(FIRST), "missing .*element_embedding"),
    "foreign": (lambda a: a.update(strange=np.zeros(3)), "'strange' has no place"),
    "misshapen": (lambda a: a.update({FIRST: a[FIRST][:, :64]}), r"has shape \(119, 64\), SO3LR's has \(119, 128\)"),
    "not finite": (lambda a: a[FIRST].__setitem__((0, 0), np.nan), "holds NaN or infinity"),
    "part of the repulsion": (lambda a: a.pop("observables_0.zbl_repulsion.a2"), "parameter 'a2' is missing"),
}


@pytest.mark.parametrize("change, words", CHANGES.values(), ids=CHANGES.keys())
def test_parameters_that_do_not_fit_are_named(tmp_path, change, words):
    arrays = dict(np.load(WEIGHTS / "so3lr_params.npz"))
    change(arrays)
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(ValueError, match=words):
        imports.get("so3lr")(tmp_path / "p.npz")
