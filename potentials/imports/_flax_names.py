"""Parameters of So3krates as flax names them, under our names.

Both codes keep dense kernels as (in, out); torch keeps (out, in). Attention matrices are (heads, out, in) in the newer
code, as ours, and (heads, in, out) in the older one.
"""
from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

Arrays = Mapping[str, np.ndarray]


def so3krates_state(flax: Arrays) -> dict[str, Tensor]:
    """State of `So3krates` from the parameters of mlff's sparse variant, names joined by '.' or '/'.

    Raises
    ------
    ValueError : a parameter that has no place here.
    """
    return _translate(flax, _SPARSE, transpose_heads=False)


def so3krates_original_state(flax: Arrays) -> dict[str, Tensor]:
    """State of `So3kratesOriginal` from the parameters of mlff's original variant."""
    return _translate(flax, _ORIGINAL, transpose_heads=True)


_SPARSE = [
    (r"feature_embeddings_0\.Embed_0\.embedding", "element_embedding.weight"),
    (r"feature_embeddings_1\.ChargeSpinEmbedSparse_0\.(.*)", r"charge_embedding.\1"),
    (r"feature_embeddings_2\.ChargeSpinEmbedSparse_0\.(.*)", r"spin_embedding.\1"),
    (r"(charge|spin)_embedding\.Embed_0\.embedding", r"\1_embedding.q.weight"),
    (r"(charge|spin)_embedding\.Embed_1\.embedding", r"\1_embedding.k.weight"),
    (r"(charge|spin)_embedding\.Embed_2\.embedding", r"\1_embedding.v.weight"),
    (r"(charge|spin)_embedding\.Residual_0\.layers_0\.", r"\1_embedding.residual.layers.first."),
    (r"(charge|spin)_embedding\.Residual_0\.layers_1\.", r"\1_embedding.residual.layers.last."),
    (r"layers_(\d+)\.", r"layers.\1."),
    (r"attention_block\.(radial|spherical)_filter1_", r"attention.filter_x.\1."),
    (r"attention_block\.(radial|spherical)_filter2_", r"attention.filter_ev.\1."),
    (r"\.(radial|spherical)\.layer_1\.", r".\1.first."),
    (r"\.(radial|spherical)\.layer_2\.", r".\1.last."),
    (r"attention_block\.Wq1", "attention.query_x.weight"),
    (r"attention_block\.Wk1", "attention.key_x.weight"),
    (r"attention_block\.Wv1", "attention.value_x.weight"),
    (r"attention_block\.Wq2", "attention.query_ev.weight"),
    (r"attention_block\.Wk2", "attention.key_ev.weight"),
    (r"layer_normalization_([12])\.", r"norm_\1."),
    (r"res_mlp_([12])_layer_1\.", r"residual_\1.layers.first."),
    (r"res_mlp_([12])_layer_2\.", r"residual_\1.layers.last."),
    (r"exchange_block\.mlp_layer_2\.", "exchange."),
    (r"observables_0\.energy_dense_regression\.", "readout.first."),
    (r"observables_0\.energy_dense_final\.", "readout.last."),
    (r"observables_0\.atomic_scales", "scales"),
    (r"observables_0\.energy_offset", "shifts"),
    (r"observables_0\.zbl_repulsion\.", "zbl."),
    (r"observables_0\.electrostatic_energy\.partial_charges\.Embed_0\.embedding", "charges.element.weight"),
    (r"observables_0\.electrostatic_energy\.partial_charges\.charge_dense_regression_vec\.", "charges.network.first."),
    (r"observables_0\.electrostatic_energy\.partial_charges\.charge_dense_final_vec\.", "charges.network.last."),
    (r"observables_2\.Embed_0\.embedding", "hirshfeld.volume.weight"),
    (r"observables_2\.Embed_1\.embedding", "hirshfeld.query.weight"),
    (r"observables_2\.hirshfeld_ratios_dense_regression\.", "hirshfeld.network.first."),
    (r"observables_2\.hirshfeld_ratios_dense_final\.", "hirshfeld.network.last."),
]

_ORIGINAL = [
    (r"feature_embeddings_0\.Embed_0\.embedding", "element_embedding.weight"),
    (r"layers_(\d+)\.(FeatureBlock|GeometricBlock|InteractionBlock|LayerNorm|ResidualMLP)_", r"layers.\1.\2_"),
    (r"FeatureBlock_0\.filter_fn\.VmapMLP_0\.", "attention.filter_x.radial."),
    (r"FeatureBlock_0\.filter_fn\.VmapMLP_1\.", "attention.filter_x.spherical."),
    (r"GeometricBlock_0\.filter_fn\.VmapMLP_0\.", "attention.filter_ev.radial."),
    (r"GeometricBlock_0\.filter_fn\.VmapMLP_1\.", "attention.filter_ev.spherical."),
    (r"\.(radial|spherical)\.layers_0\.", r".\1.first."),
    (r"\.(radial|spherical)\.layers_1\.", r".\1.last."),
    (r"FeatureBlock_0\.attention_fn\.VmapConvAttentionCoefficients_0\.Dense_0\.kernel", "attention.query_x.weight"),
    (r"FeatureBlock_0\.attention_fn\.VmapConvAttentionCoefficients_0\.Dense_1\.kernel", "attention.key_x.weight"),
    (r"FeatureBlock_0\.attention_fn\.VmapAttentionAggregation_0\.Dense_0\.kernel", "attention.value_x.weight"),
    (r"GeometricBlock_0\.attention_fn\.VmapConvAttentionCoefficients_0\.Dense_0\.kernel", "attention.query_ev.weight"),
    (r"GeometricBlock_0\.attention_fn\.VmapConvAttentionCoefficients_0\.Dense_1\.kernel", "attention.key_ev.weight"),
    (r"InteractionBlock_0\.MLP_0\.layers_0\.", "exchange."),
    (r"LayerNorm_0\.", "norm_1."),
    (r"LayerNorm_1\.", "norm_2."),
    (r"LayerNorm_2\.", "norm_3."),
    (r"ResidualMLP_0\.Residual_0\.layers_0\.", "residual_1.inner.layers.first."),
    (r"ResidualMLP_0\.Residual_0\.layers_1\.", "residual_1.inner.layers.last."),
    (r"ResidualMLP_0\.Dense_0\.", "residual_1.outer."),
    (r"ResidualMLP_1\.Residual_0\.layers_0\.", "residual_2.inner.layers.first."),
    (r"ResidualMLP_1\.Residual_0\.layers_1\.", "residual_2.inner.layers.last."),
    (r"ResidualMLP_1\.Dense_0\.", "residual_2.outer."),
    (r"observables_0\.MLP_0\.layers_0\.", "readout.first."),
    (r"observables_0\.MLP_0\.layers_1\.", "readout.last."),
]

_OURS = re.compile(
    r"(element_embedding|(charge|spin)_embedding\.(q|k|v|residual\.layers\.(first|last))|layers\.\d+\.\w+|readout|zbl|scales|shifts|charges|hirshfeld)(\.|$)"
)


def _translate(flax: Arrays, rules: list[tuple[str, str]], transpose_heads: bool) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    zbl: dict[str, Tensor] = {}
    for name, array in flax.items():
        ours = name.replace("/", ".")
        for pattern, replacement in rules:
            ours = re.sub(pattern, replacement, ours)
        if not _OURS.match(ours):
            raise ValueError(f"Parameter '{name}' has no place in this architecture.")
        value = torch.from_numpy(np.array(array))
        if ours.startswith("zbl."):
            zbl[ours[4:]] = value
            continue
        if ours.endswith(".kernel"):
            kernel = value[0] if value.ndim == 3 else value  # the older code has one filter head in front
            ours, value = ours[: -len("kernel")] + "weight", kernel.T.contiguous()
        elif ours.endswith(".scale"):
            ours = ours[: -len("scale")] + "weight"
        elif ours.endswith(".bias") and value.ndim == 2:
            value = value[0]
        elif value.ndim == 3 and transpose_heads:
            value = value.transpose(1, 2).contiguous()
        state[ours] = value
    if zbl:
        for letter in "ac":
            state[f"zbl.{letter}"] = torch.cat([zbl[f"{letter}{k}"] for k in (1, 2, 3, 4)])
        state["zbl.p"], state["zbl.d"] = zbl["p"], zbl["d"]
    return state
