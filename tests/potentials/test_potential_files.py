"""A potential file comes back as it was, or is refused by name; it never runs code, and never takes more memory than it has bytes."""
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import torch

from potentials.architectures.lennard_jones import Config, LennardJones
from potentials.checkpoint import Card, PotentialFileError, checksum, fingerprint, load_potential, read_content, save_potential
from potentials.derivatives import energy_forces_stress
from potentials.neighbours import graph_of
from samples import house_names, small, water

CARD = Card(level_of_theory="PBE0+MBD", energy_zero="relative to atoms", training={"frames": 10, "errors": {"forces": 0.03}}, data_hash="ab" * 32)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A small So3krates on disk."""
    path = tmp_path_factory.mktemp("potential") / "small.pt"
    save_potential(path, small("so3krates", elements=(1, 8)), CARD)
    return path


@pytest.fixture
def file(written, tmp_path):
    """A copy of it, to be spoilt."""
    return shutil.copy(written, tmp_path / "small.pt")


def spoil(file, change, *, keep_checksum=False):
    """Rewrite the content of a file after `change` was applied to it."""
    content = torch.load(file, weights_only=True)
    replaced = change(content)
    content = replaced if isinstance(replaced, dict) else content
    if not keep_checksum and isinstance(content.get("weights"), dict):
        try:
            content["checksum"] = checksum(content["weights"])
        except (AttributeError, RuntimeError, TypeError, NotImplementedError):
            pass  # no tensors any more
    torch.save(content, file)
    return file


def refused(file, *words):
    with pytest.raises(PotentialFileError) as caught:
        load_potential(file)
    message = str(caught.value)
    assert str(file) in message and len(message) < 1000
    for word in words:
        assert word in message, message
    return message


# what is written comes back


@pytest.mark.parametrize("name", house_names())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_potential_comes_back_to_the_bit(name, dtype, tmp_path):
    potential = small(name)
    if dtype == "float32":
        potential = potential.float()
    save_potential(tmp_path / "p.pt", potential, CARD)
    again = load_potential(tmp_path / "p.pt")
    assert type(again) is type(potential) and again.config == potential.config and again.card == CARD
    assert not again.training
    before, after = potential.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) and (before[key].dtype == after[key].dtype) for key in before)
    graph = graph_of(water(), potential.cutoff)
    one, other = (energy_forces_stress(p, graph) for p in (potential, again))
    assert torch.equal(one.energy, other.energy) and torch.equal(one.forces, other.forces)


def test_loading_does_not_touch_the_global_generator(written):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_potential(written)
    assert torch.equal(torch.rand(3), expected)


def test_precision_on_request(written):
    assert {p.dtype for p in load_potential(written, "float32").parameters()} == {torch.float32}
    assert {p.dtype for p in load_potential(written, "float64").parameters()} == {torch.float64}
    with pytest.raises(ValueError, match="dtype is 'float16'; allowed: float32, float64"):
        load_potential(written, "float16")


def test_reference_energies_stay_exact_in_single_precision(tmp_path):
    potential = small("so3krates")
    potential.set_reference_energies({1: -13.587222780835477, 8: -2041.4396120001})
    save_potential(tmp_path / "p.pt", potential)
    table = load_potential(tmp_path / "p.pt", "float32").element_energies.energies
    assert float(table[8]) == -2041.4396120001 and float(table[1]) == -13.587222780835477 and float(table[6]) == 0


def test_a_potential_without_a_name_cannot_be_written(tmp_path):
    class Nameless(LennardJones):
        name = None

    with pytest.raises(ValueError, match="Nameless has no registered name"):
        save_potential(tmp_path / "p.pt", Nameless())
    assert list(tmp_path.iterdir()) == []


# writing is whole or not at all


def test_a_failed_write_leaves_what_was_there(file, monkeypatch):
    before = file.read_bytes()

    def half(content, path):
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="No space left"):
        save_potential(file, LennardJones())
    assert file.read_bytes() == before and [f.name for f in file.parent.iterdir()] == [file.name]


def test_a_file_is_replaced_at_once(file, monkeypatch):
    """Until the new file is whole and on disk, the old one stands under its name."""
    seen = []
    replace = os.replace

    def watched(source, target):
        load_potential(source)
        seen.append(type(load_potential(target)).__name__)
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    save_potential(file, LennardJones())
    assert seen == ["So3krates"] and isinstance(load_potential(file), LennardJones)


# what cannot be used is refused by name


def test_no_file_a_folder_and_an_empty_file(tmp_path):
    refused(tmp_path / "nothing.pt", "There is no potential file")
    (tmp_path / "folder.pt").mkdir()
    refused(tmp_path / "folder.pt", "is a folder")
    (tmp_path / "empty.pt").touch()
    refused(tmp_path / "empty.pt", "is empty")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.98, 0.9999])
def test_a_truncated_file_is_refused(file, share):
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    refused(file, "cut short")


@pytest.mark.parametrize("content", [b"MZ" + bytes(1000), b"hello\n" * 50, b"PK\x03\x04" + bytes(300), np.random.default_rng(0).bytes(5000)])
def test_garbage_is_refused(tmp_path, content):
    (tmp_path / "p.pt").write_bytes(content)
    refused(tmp_path / "p.pt", "not a potential file")


def test_any_damaged_byte_of_the_weights_is_noticed(written, tmp_path):
    """torch.load itself does not look: bytes are altered inside the zip's members, where the weights lie."""
    whole = written.read_bytes()
    with zipfile.ZipFile(written) as archive:
        members = [m for m in archive.infolist() if "/data/" in m.filename and m.file_size > 64]
    rng = np.random.default_rng(1)
    for k in range(12):
        member = members[rng.integers(len(members))]
        at = whole.index(b"FB", member.header_offset) + 0  # torch pads the extra field with 'FB' and Z to align the data
        start = member.header_offset + 30 + int.from_bytes(whole[member.header_offset + 26 : member.header_offset + 28], "little")
        start += int.from_bytes(whole[member.header_offset + 28 : member.header_offset + 30], "little")
        assert at < start
        place = start + int(rng.integers(member.file_size))
        altered = bytearray(whole)
        altered[place] ^= 1 << int(rng.integers(8))
        (tmp_path / f"{k}.pt").write_bytes(altered)
        with pytest.raises(PotentialFileError, match="damaged|NaN or infinity"):
            load_potential(tmp_path / f"{k}.pt")


def test_a_torch_file_of_another_kind_is_refused(tmp_path):
    for k, content in enumerate(({"state_dict": {"w": torch.zeros(2)}}, torch.zeros(3), [1, 2], {"format": "another"})):
        torch.save(content, tmp_path / f"{k}.pt")
        refused(tmp_path / f"{k}.pt", "not a potential of mdapp")


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("the-code-ran",))


@pytest.mark.parametrize("where", ["config", "weights", "beside"])
def test_pickled_code_is_refused_and_does_not_run(file, where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = torch.load(file, weights_only=True)
    if where == "beside":
        content["extra"] = Bomb()
    else:
        content[where]["x"] = Bomb()
    torch.save(content, file)
    message = refused(file, "could run code", "posix.mkdir")
    assert "weights_only" not in message  # no advice to open it all the same
    assert not (tmp_path / "the-code-ran").exists()


def test_a_whole_pickled_module_is_refused(tmp_path):
    torch.save(small("so3krates"), tmp_path / "p.pt")
    refused(tmp_path / "p.pt", "could run code")
    (tmp_path / "q.pt").write_bytes(pickle.dumps({"a": 1}))
    refused(tmp_path / "q.pt", "not a potential file")


def test_a_zip_bomb_is_refused_unopened(file, tmp_path):
    bomb = tmp_path / "bomb.pt"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, bytes(50_000_000) if member.endswith("/data/0") else old.read(member))
    assert bomb.stat().st_size < 1_000_000
    refused(bomb, "compressed")


@pytest.mark.parametrize(
    "key", ["format_version", "architecture", "config", "elements", "cutoff", "units", "dtype", "knows_charge", "card", "weights", "checksum"]
)
def test_a_missing_entry_is_named(file, key):
    spoil(file, lambda c: {k: v for k, v in c.items() if k != key}, keep_checksum=True)
    refused(file, f"lacks {key}")


CHANGES = {
    "version": (lambda c: c.update(format_version=99), ["format version 99", "reads version 1"]),
    "extra entry": (lambda c: c.update(code="print(1)"), ["unknown entries: code"]),
    "type of an entry": (lambda c: c.update(dtype=32), ["dtype is int, expected str"]),
    "units": (lambda c: c.update(units={"energy": "kcal/mol", "length": "Å"}), ["units", "kcal/mol", "expected"]),
    "dtype": (lambda c: c.update(dtype="float16"), ["dtype is 'float16'; allowed: float32, float64"]),
    "cutoff": (lambda c: c.update(cutoff=-1.0), ["cutoff is -1.0", "between 0 and 1000"]),
    "cutoff that is no number": (lambda c: c.update(cutoff=float("nan")), ["cutoff is nan"]),
    "absurd cutoff": (lambda c: c.update(cutoff=10**400), ["between 0 and 1000"]),
    "cutoff of another config": (lambda c: c.update(cutoff=6.0), ["states a cutoff of 6.0", "5.0"]),
    "foreign elements": (lambda c: c.update(elements=[1, 500]), ["no atomic number"]),
    "elements as text": (lambda c: c.update(elements=["H"]), ["no atomic number"]),
    "elements of another config": (lambda c: c.update(elements=[1, 6]), ["states elements (1, 6)", "(1, 8)"]),
    "architecture": (lambda c: c.update(architecture="so3krats"), ["No architecture 'so3krats'", "so3krates", "installing its package"]),
    "a path for a name": (lambda c: c.update(architecture="../../evil"), ["No architecture '../../evil'"]),
    "config key": (lambda c: c["config"].update(num_feature=8), ["unknown key 'num_feature'", "did you mean 'num_features'"]),
    "config value": (lambda c: c["config"].update(cutoff="5"), ["config: cutoff: expected a number, got '5'"]),
    "config choice": (lambda c: c["config"].update(cutoff_fn="cosin"), ["cutoff_fn: got 'cosin'", "did you mean 'cosine'"]),
    "config out of range": (lambda c: c["config"].update(num_layers=0), ["num_layers", "at least 1"]),
    "config that does not divide": (lambda c: c["config"].update(num_heads=3), ["divisible by num_heads"]),
    "config beyond numbers": (lambda c: c["config"].update(avg_num_neighbors=float("inf")), ["config holds inf"]),
    "tensor in the config": (lambda c: c["config"].update(cutoff=torch.tensor(5.0)), ["config holds a Tensor"]),
    "card": (lambda c: c["card"].update(author="me"), ["card: unknown key 'author'"]),
    "missing weight": (lambda c: c["weights"].pop("readout.last.bias") is None, ["lacks readout.last.bias"]),
    "foreign weight": (lambda c: c["weights"].update(backdoor=torch.zeros(2)), ["has backdoor, which it should not"]),
    "misshapen weight": (lambda c: c["weights"].update({"readout.last.bias": torch.zeros(2)}), ["'readout.last.bias' has shape (2,), expected (1,)"]),
    "NaN": (lambda c: c["weights"]["readout.last.bias"].fill_(float("nan")) is None, ["'readout.last.bias' holds NaN"]),
    "infinity": (lambda c: c["weights"]["zbl.a"].fill_(float("inf")) is None, ["'zbl.a' holds NaN or infinity"]),
    "text for a weight": (lambda c: c["weights"].update({"zbl.a": "none"}), ["'zbl.a' is not a plain tensor"]),
    "sparse weight": (lambda c: c["weights"].update({"zbl.a": torch.zeros(4).to_sparse()}), ["'zbl.a' is not a plain tensor"]),
    "weight without numbers": (lambda c: c["weights"].update({"zbl.a": torch.zeros(4, device="meta")}), ["'zbl.a' is not a plain tensor"]),
    "complex weight": (lambda c: c["weights"].update({"zbl.a": torch.zeros(4, dtype=torch.complex64)}), ["'zbl.a' is not a plain tensor"]),
    "half of the layers": (lambda c: c["config"].update(num_layers=3), ["lacks layers.2."]),
}


@pytest.mark.parametrize("change, words", CHANGES.values(), ids=CHANGES.keys())
def test_what_is_wrong_is_named(file, change, words):
    refused(spoil(file, change), *words)


def test_weights_that_do_not_match_their_checksum(file):
    def change(content):
        content["weights"]["readout.last.bias"] += 1e-6

    refused(spoil(file, change, keep_checksum=True), "do not match their checksum")


# sizes are known before memory is taken

ABSURD = {
    "features": dict(num_features=10**7),
    "more features": dict(num_features=10**12),
    "beyond integers": dict(num_features=2**62, num_heads=2**61),
    "layers": dict(num_layers=10**9),
    "radial": dict(num_radial_basis_fn=10**11),
    "readout": dict(energy_regression_dim=10**13),
}


@pytest.mark.parametrize("claims", ABSURD.values(), ids=ABSURD.keys())
def test_absurd_sizes_are_refused_before_memory_is_taken(file, claims):
    import resource
    import time

    spoil(file, lambda c: c["config"].update(claims))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    message = refused(file)
    assert "larger potential" in message or "does not make a so3krates" in message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    assert time.perf_counter() - start < 20


def test_tensors_that_claim_more_than_is_stored_are_refused(file):
    """A view repeats one stored number a trillion times."""

    def change(content):
        content["weights"]["zbl.a"] = torch.zeros(1).expand(10**12)

    refused(spoil(file, change, keep_checksum=True), "'zbl.a' is not a plain tensor")


def test_a_tensor_stored_once_is_not_counted_ten_thousand_times(file):
    def change(content):
        block = torch.zeros(10**6)
        content["weights"].update({f"w{k}": block for k in range(10**4)})

    refused(spoil(file, change, keep_checksum=True), "claim to be larger than the file")


def test_values_that_multiply_are_refused(file):
    """Ten lists of ten lists of ...: small in the file, 10^12 values when written out in a message."""

    def change(content):
        bomb = [0] * 10
        for _ in range(12):
            bomb = [bomb] * 10
        content["config"]["degrees"] = bomb

    refused(spoil(file, change), "config holds more than")


def test_the_fingerprint_is_that_of_the_bytes(file):
    import hashlib

    assert fingerprint(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_checksum_knows_names_types_shapes_and_numbers():
    base = {"a": torch.arange(6.0), "b": torch.zeros(2)}
    same = {"b": torch.zeros(2), "a": torch.arange(6.0)}
    others = [
        {"a": torch.arange(6.0), "c": torch.zeros(2)},
        {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(2)},
        {"a": torch.arange(6.0).double(), "b": torch.zeros(2)},
        {"a": torch.arange(6.0), "b": torch.tensor([0.0, -0.0])},
    ]
    assert checksum(base) == checksum(same)
    assert len({checksum(x) for x in [base, *others]}) == 5


def test_elements_are_kept_sorted(tmp_path):
    save_potential(tmp_path / "p.pt", LennardJones(Config(elements=(18, 10))))
    assert read_content(tmp_path / "p.pt")["elements"] == [10, 18] and load_potential(tmp_path / "p.pt").elements == (10, 18)
