"""Filters: each wish takes what it says, and counts what falls."""
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from potentials.data import FilterConfig, LabelledStructure
from potentials.data.filters import filtered


def structure(numbers=(8, 1, 1), charge=0.0, molecule="water", subset="", force=1.0, forces=True):
    n = len(numbers)
    labels = np.zeros((n, 3))
    labels[0] = 0.6 * force, 0.0, -0.8 * force
    return LabelledStructure(np.array(numbers), np.eye(n, 3), -1.0, labels if forces else None, None, np.zeros((3, 3)), np.zeros(3, bool), charge,
                             molecule, "a test", subset=subset)  # fmt: skip


def taken(structures, **wish):
    fallen = Counter()
    return list(filtered(structures, FilterConfig(**wish), fallen)), fallen


@pytest.mark.parametrize("wish, kept, lost", [
    (dict(elements=("H", "O")), dict(), dict(numbers=(8, 1, 11))),
    (dict(charge=0.0), dict(), dict(charge=1.0)),
    (dict(charge=(0.0, -1.0)), dict(charge=-1.0), dict(charge=1.0)),
    (dict(max_force_eV_A=2.0), dict(force=2.0 - 1e-9), dict(force=2.1)),
    (dict(max_force_eV_A=2.0), dict(forces=False), dict(force=-3.0)),
    (dict(max_atoms=3), dict(), dict(numbers=(8, 1, 1, 1))),
    (dict(molecules=("wat*", "acet?ne")), dict(molecule="acetone"), dict(molecule="ether")),
    (dict(molecules=("[O][H].[H]",)), dict(molecule="[O][H].[H]"), dict(molecule="OH.H")),
    (dict(not_molecules=("eth*",)), dict(), dict(molecule="ethanol")),
    (dict(subsets=("*Dipeptides*",)), dict(subset="SPICE Dipeptides v1.2"), dict(subset="SPICE PubChem")),
], ids=str)  # fmt: skip
def test_wish_takes_and_drops(wish, kept, lost):
    kept, lost = structure(**kept), structure(**lost)
    read, fallen = taken([lost, kept, lost], **wish)
    assert read == [kept] and fallen == {next(iter(wish)): 2}


def test_no_wish_takes_all():
    frames = [structure(charge=q, molecule=str(q)) for q in range(5)]
    assert taken(frames) == (frames, {})


def test_every_counts_frames_of_the_file_and_limit_those_taken():
    frames = [structure(charge=float(k % 2), molecule=str(k)) for k in range(20)]
    read, fallen = taken(frames, every=3, limit=2, charge=0.0)
    assert [s.molecule for s in read] == ["0", "6"] and fallen == {"every": 4, "charge": 1}  # frames after the limit are not looked at


def test_isolated_atoms_pass_and_count_for_nothing():
    atom = replace(structure((3,)), molecule="IsolatedAtom")
    frames = [atom, structure(), structure()]
    read, fallen = taken(frames, elements=("H", "O"), every=2)
    assert read == frames[:2] and fallen == {"every": 1}


@pytest.mark.parametrize("wrong, message", [
    (dict(elements=("H", "Xx")), "elements names no element with 'Xx'"),
    (dict(every=0), "every must be 1 or more, got 0"),
    (dict(limit=0), "limit must be > 0"),
    (dict(max_force_eV_A=float("nan")), "max_force_eV_A must be > 0"),
])  # fmt: skip
def test_wishes_that_mean_nothing_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        FilterConfig(**wrong)


def test_every_and_hold_out_of_one_number_are_each_other_s_complement():
    frames = [structure(charge=q, molecule=str(q)) for q in range(11)]
    test, training = taken(frames, every=4)[0], taken(frames, hold_out=4)
    assert [s.molecule for s in test] == ["0", "4", "8"] and training[1] == {"hold_out": 3}
    assert sorted([*test, *training[0]], key=lambda s: s.charge) == frames


def test_holding_out_every_frame_is_refused():
    with pytest.raises(ValueError, match="hold_out must be 2 or more"):
        FilterConfig(hold_out=1)
