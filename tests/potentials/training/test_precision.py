"""What is coarser than float32 is asked for by name or refused with a reason, and changes nothing outside of a training."""
import pytest
import torch

from potentials.training.config import TrainConfig
from potentials.training.precision import matrix_products
from potentials.typed import ConfigError, from_mapping


def config(**changes):
    return from_mapping(TrainConfig, {"data": {"train": "a.xyz"}, "epochs": 1, **changes}, "[train]")


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_holds_within_the_block_only(tf32):
    before = torch.backends.cuda.matmul.allow_tf32
    with pytest.raises(KeyError), matrix_products(tf32):
        assert torch.backends.cuda.matmul.allow_tf32 is tf32
        raise KeyError
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_bfloat16_is_refused_with_its_reason():
    with pytest.raises(ConfigError, match="bf16-mixed is not offered.*4 to 7 meV/Å.*Use float32"):
        config(dtype="bf16-mixed")
    assert config().dtype == "float32" and not config().tf32
    with pytest.raises(ConfigError, match="float16"):
        config(dtype="float16")


def test_tf32_needs_a_gpu_and_float32():
    assert config(tf32=True, device="cuda").tf32
    with pytest.raises(ConfigError, match="tf32"):
        config(tf32=True)
    with pytest.raises(ConfigError, match="tf32"):
        config(tf32=True, device="cuda", dtype="float64")
