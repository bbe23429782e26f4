"""Triples of atoms from a list of pairs: a centre and two of its neighbours, each unordered pair of neighbours once.

No tensor here is wider than the number of triples: the work grows with n_atoms (neighbours)^2 / 2, and an atom in a cell smaller than the
cutoff meets its own images as neighbours like any others.
"""
from __future__ import annotations

import torch
from torch import Tensor


def triples_of(centres: Tensor, n_atoms: int) -> tuple[Tensor, Tensor]:
    """Pairs of edges that share their centre.

    Parameters
    ----------
    centres : (n_edges,) int64, the centre of each directed edge, in any order.

    Returns
    -------
    first, second : (n_triples,) int64 edges each; both have the same centre, and centres ascend along the list.
    """
    order = torch.argsort(centres, stable=True)  # (n_edges,) edges, those of one centre side by side
    counts = torch.bincount(centres, minlength=n_atoms)
    ends = torch.repeat_interleave(torch.cumsum(counts, 0), counts)  # (n_edges,) one past the last edge of the same centre
    places = torch.arange(len(order), device=centres.device)
    later = ends - places - 1  # (n_edges,) how many edges of the centre stand behind
    first = torch.repeat_interleave(places, later)
    before = torch.cumsum(later, 0) - later
    second = first + 1 + torch.arange(len(first), device=centres.device) - before.index_select(0, first)
    return order.index_select(0, first), order.index_select(0, second)


def outer_sums(left: Tensor, right: Tensor, rows: Tensor, n_rows: int, chunk: int = 16) -> Tensor:
    """Sums of outer products, without ever holding the products.

    Items of one row are laid into chunks of equal length, the last one filled up with zeros, and a batched matrix product does
    both the multiplication and the sum. Where rows have few items, products are added one by one.

    Parameters
    ----------
    left, right : (n_items, a) and (n_items, b).
    rows : (n_items,) int64, ascending where chunks are worth while (`worth_chunks`), else in any order.

    Returns
    -------
    (n_rows, a b), in row r the sum of left ⊗ right over the items of r, `right` running fastest.
    """
    (n_items, a), b = left.shape, right.shape[1]
    out = left.new_zeros(n_rows, a * b)
    if n_items == 0:
        return out
    if not worth_chunks(n_items, n_rows) or a == 1 or b == 1:
        return out.index_add(0, rows, (left[:, :, None] * right[:, None, :]).view(n_items, a * b))
    place, chunk_rows = chunked(rows, n_rows, chunk)
    padded = torch.cat([left, right], dim=1)
    padded = torch.cat([padded, padded.new_zeros(1, a + b)]).index_select(0, place).view(len(chunk_rows), chunk, a + b)
    sums = torch.bmm(padded[:, :, :a].transpose(1, 2), padded[:, :, a:])  # (n_chunks, a, b)
    return out.index_add(0, chunk_rows, sums.reshape(-1, a * b))


def worth_chunks(n_items: int, n_rows: int) -> bool:
    """Are there enough items in a row for chunks of them."""
    return n_items >= 10 * n_rows


def chunked(rows: Tensor, n_rows: int, chunk: int) -> tuple[Tensor, Tensor]:
    """Where ascending rows are cut into chunks: (n_chunks chunk,) items, `n_items` standing for none, and (n_chunks,) rows."""
    counts = torch.bincount(rows, minlength=n_rows)
    n_chunks = (counts + chunk - 1) // chunk
    shift = (torch.cumsum(n_chunks, 0) - n_chunks) * chunk - (torch.cumsum(counts, 0) - counts)
    items = torch.arange(len(rows), device=rows.device)
    chunk_rows = torch.repeat_interleave(torch.arange(n_rows, device=rows.device), n_chunks)
    place = torch.full((len(chunk_rows) * chunk,), len(rows), dtype=torch.int64, device=rows.device)
    place[shift.index_select(0, rows) + items] = items
    return place, chunk_rows
