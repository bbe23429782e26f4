"""Foreign parameters find their place, all of them, or are refused by name."""
import numpy as np
import pytest
import torch

from architectures.reference import NAMES, load
from potentials.imports._flax_names import so3krates_original_state, so3krates_state


@pytest.mark.parametrize("name", NAMES)
def test_every_number_arrives_once(name):
    reference = load(name)
    translate = so3krates_state if reference.sparse else so3krates_original_state
    state = translate(reference.flax)
    assert sum(t.numel() for t in state.values()) == sum(a.size for a in reference.flax.values())
    flat = np.sort(np.concatenate([t.numpy().ravel() for t in state.values()]))
    np.testing.assert_array_equal(flat, np.sort(np.concatenate([a.ravel() for a in reference.flax.values()])))
    expected = reference.potential.state_dict()
    assert {k: tuple(t.shape) for k, t in state.items()} == {k: tuple(expected[k].shape) for k in state}


@pytest.mark.parametrize("name", NAMES)
def test_slashes_and_points_mean_the_same(name):
    reference = load(name)
    translate = so3krates_state if reference.sparse else so3krates_original_state
    dotted = translate({key.replace("/", "."): value for key, value in reference.flax.items()})
    slashed = translate({key.replace(".", "/"): value for key, value in reference.flax.items()})
    assert dotted.keys() == slashed.keys() and all(torch.equal(dotted[k], slashed[k]) for k in dotted)


@pytest.mark.parametrize("translate", [so3krates_state, so3krates_original_state])
def test_a_parameter_without_a_place_is_refused_by_name(translate):
    with pytest.raises(ValueError, match="'feature_embeddings_9.Strange_0.kernel' has no place"):
        translate({"feature_embeddings_9.Strange_0.kernel": np.zeros((2, 2))})


def test_kernels_are_turned_and_heads_are_not_in_the_newer_code():
    kernel, heads = np.arange(6.0).reshape(2, 3), np.arange(8.0).reshape(2, 2, 2)
    state = so3krates_state({"layers_0.exchange_block.mlp_layer_2.kernel": kernel, "layers_0.attention_block.Wq1": heads})
    np.testing.assert_array_equal(state["layers.0.exchange.weight"], kernel.T)  # (in, out) there, (out, in) here
    np.testing.assert_array_equal(state["layers.0.attention.query_x.weight"], heads)  # (heads, out, in) in both


def test_heads_are_turned_in_the_older_code():
    heads = np.arange(8.0).reshape(2, 2, 2)
    name = "layers_1/FeatureBlock_0/attention_fn/VmapConvAttentionCoefficients_0/Dense_1/kernel"
    np.testing.assert_array_equal(so3krates_original_state({name: heads})["layers.1.attention.key_x.weight"], heads.transpose(0, 2, 1))
