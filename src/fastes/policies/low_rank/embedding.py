"""Embeddings: rows of the shared table, and a correction of rank R of rows of the first factor.

y = W[ids] + (s_k / sqrt(R)) A_k[ids] B_k^T,      W (vocabulary, features)
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from fastes.errors import PolicyError
from fastes.policies.low_rank.members import Members
from fastes.policies.low_rank.products import added_
from fastes.policies.low_rank.watch import of_rows


class Embedding:
    """nn.Embedding.

    Ids of one dimension are either one for each row, or common to all rows, such as positions: then [n] gives
    [rows, n, features]. Which of the two is seen at the first call.
    """

    def __init__(self, layer: nn.Embedding, members: Members) -> None:
        """Raises PolicyError if the layer changes its weight when it is called."""
        if layer.max_norm is not None:
            raise PolicyError("nn.Embedding with max_norm changes its weight, which members share: leave max_norm out.")
        self._layer, self._members = layer, members
        self._common: bool | None = None

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        """Forward."""
        members, weight = self._members, self._layer.weight
        ids = self._spread(input)
        if not members.has_factors(weight):
            numbers = torch.arange(members.count, device=ids.device).unsqueeze(1)
            return members.values(weight)[numbers, ids.reshape(members.count, -1)].view(*ids.shape, -1)
        y = functional.embedding(ids, weight)
        a, b = members.factors(weight)
        of_groups = ids.reshape(members.groups, 1, -1).expand(-1, members.rank, -1)
        inner = a.gather(2, of_groups).transpose(1, 2).contiguous()
        added_(y.view(members.groups, -1, y.shape[-1]), members.scaled_(inner), b)
        return y

    def _spread(self, ids: torch.Tensor) -> torch.Tensor:
        rows = self._members.batch_rows
        if ids.dim() == 1 and rows:
            if self._members.watched:
                self._common = not of_rows(ids)
                if self._common and 1 < rows == len(ids):
                    raise PolicyError(
                        f"nn.Embedding was given {rows} ids, made inside the module, for {rows} rows: they may be "
                        "positions or one for each row. Give positions as [1, n], with ids.unsqueeze(0)."
                    )
            if self._common or (self._common is None and len(ids) % rows):
                return ids.expand(rows, len(ids))
        return self._members.spread(ids, self._layer, least=1)
