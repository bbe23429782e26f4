r"""An extended Kalman filter as an optimiser of small networks.

The weights w are a state that is observed through energies and forces. With errors ξ of some observations, their derivatives
H = ∂prediction/∂w (one column each) and the covariance P of the weights' errors:

.. math:: X = P H, \quad A = H^T X + R, \quad w \leftarrow w + X A^{-1} \xi, \quad P \leftarrow P - X A^{-1} X^T + Q

"standard": R = 1/η with η rising by exp(1/η_tau) at each update up to 1, Q = q falling by exp(-1/q_tau) down to `q_min`.
"fading": the past is forgotten, R = λ and P ← P/λ with λ ← ν λ + 1 - ν.
P takes 8 n² bytes, so this is for thousands of weights, not for millions.

T. B. Blank and S. D. Brown, J. Chemometrics 8, 391 (1994); A. Singraber et al., J. Chem. Theory Comput. 15, 3075 (2019).
"""
from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

MOST_WEIGHTS = 12_000  # P then takes 1.2 GB


@dataclass(frozen=True)
class KalmanConfig:
    """Observations are in units of the potential's energy unit, multiplied by the roots of the loss's weights."""

    kind: Literal["standard", "fading"] = "standard"
    epsilon: float = 0.01  # P = 1 / epsilon at the beginning
    eta: float = 0.01  # "standard": 1 / R at the beginning
    eta_max: float = 1.0
    eta_tau: float = 100.0  # updates in which it grows by e
    q: float = 0.01  # "standard": Q at the beginning
    q_min: float = 1e-6
    q_tau: float = 100.0  # updates in which it falls by e
    forgetting: float = 0.995  # "fading": λ at the beginning
    nu: float = 0.999  # and how fast it goes to 1
    forces_per_update: int = 100  # components of forces that a batch is observed by, drawn at random; 0: all
    force_threshold: float = 0.0  # components whose error is above so many RMSE are drawn first
    ema: float = 0.0  # of the running mean of the weights, which is what is validated and kept; 0: the last weights themselves

    def __post_init__(self) -> None:
        for name in ("epsilon", "eta", "eta_max", "eta_tau", "q_tau"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}.")
        for name in ("q", "q_min", "forces_per_update", "force_threshold"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be at least 0 and below 1, got {self.ema}.")
        for name in ("forgetting", "nu"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}.")


class KalmanFilter(torch.optim.Optimizer):
    """The filter over all parameters that it is given; see the module's head.

    Raises
    ------
    ValueError : more weights than P could be kept for.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], config: KalmanConfig = KalmanConfig()):
        super().__init__(list(parameters), {"lr": 1.0})
        self.config = config
        self.parameters: list[torch.nn.Parameter] = self.param_groups[0]["params"]
        n = sum(p.numel() for p in self.parameters)
        if n > MOST_WEIGHTS:
            raise ValueError(f"a Kalman filter keeps the square of the number of weights: {n} are too many, {MOST_WEIGHTS} the most. Use adamw.")
        self.P = torch.eye(n, dtype=torch.float64, device=self.parameters[0].device) / config.epsilon
        self.updates, self.forgetting = 0, config.forgetting

    @torch.no_grad()
    def update(self, jacobian: Tensor, error: Tensor) -> bool:
        """Take some observations into account; False, and no change, where they are not finite.

        Parameters
        ----------
        jacobian : (n_observations, n_weights), derivatives of predictions.
        error : (n_observations,), observed - predicted.
        """
        H, xi = jacobian.double(), error.double()
        if not (torch.isfinite(H).all() and torch.isfinite(xi).all()):
            return False
        noise = self._noise()
        X = H @ self.P  # (n_observations, n_weights); P is symmetric
        A = X @ H.T
        A.diagonal().add_(noise)
        L, failed = torch.linalg.cholesky_ex(0.5 * (A + A.T))
        if int(failed):
            return False
        Y = torch.linalg.solve_triangular(L, X, upper=False)  # A⁻¹ = L⁻ᵀ L⁻¹
        change = Y.T @ torch.linalg.solve_triangular(L, xi[:, None], upper=False)[:, 0]
        self.P.addmm_(Y.T, Y, alpha=-1)  # stays symmetric to the bit up to rounding of one product
        if self.config.kind == "fading":
            self.P.div_(self.forgetting)
            self.forgetting = self.config.nu * self.forgetting + 1 - self.config.nu
        else:
            self.P.diagonal().add_(max(self.config.q * math.exp(-self.updates / self.config.q_tau), self.config.q_min))
        self.updates += 1
        at = 0
        for p in self.parameters:
            p.add_(change[at : at + p.numel()].view_as(p).to(p.dtype))
            at += p.numel()
        return True

    def _noise(self) -> float:
        """R."""
        if self.config.kind == "fading":
            return self.forgetting
        return 1 / min(self.config.eta * math.exp(min(self.updates / self.config.eta_tau, 700.0)), self.config.eta_max)

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        return {"P": self.P, "updates": self.updates, "forgetting": self.forgetting}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # type: ignore[override]
        self.P.copy_(state_dict["P"])
        self.updates, self.forgetting = int(state_dict["updates"]), float(state_dict["forgetting"])

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        raise NotImplementedError("A Kalman filter is updated with Jacobians, not stepped along a gradient.")
