"""Weights of any origin: published networks compute what they computed, heads fit the classes, damage is refused."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from helpers.fabricated import fabricate_model, replace_weights
from helpers.published_networks import REFERENCE, fixed_pictures, later_xresnet, published_state
from helpers.slow import slow_but
from safetensors.torch import save, save_file

from audiotagging.base.errors import UserError
from audiotagging.members import REFERENCE as MEMBERS
from audiotagging.training.networks import NETWORKS
from audiotagging.training.weights_file import read_weights, start_with

# Eighty names that do not sort as their views do: "a_flip" comes between "a" and "a-b".
NAMES = sorted(f"{letter}{end}" for letter in "abcdefghijklmnopqrst" for end in ("", "-b", "_c", "z"))
VIEWS = ("", "_flip", "_vert", "_flip_vert")  # the published names: as is, in time, in mels, both
OUTPUT = dict.fromkeys(["xresnet18ssa", "xresnet34ssa"], "head.2")
OUTPUT |= dict.fromkeys(["xresnet34", "xresnet50"], "head.layers.6")


def network_of(name, classes, seed=5):
    torch.manual_seed(seed)
    return NETWORKS[name](4 * len(classes))


def own_model(folder, member, classes, seed=1):
    """Write the folder of a model with random weights, and return it with its network."""
    network = network_of(member.network, classes, seed)
    fabricate_model(folder, member, fold=-1, classes=classes)
    replace_weights(folder, save(network.state_dict()))
    return folder, network


# Published files


@pytest.mark.parametrize("wrapped", slow_but([True, False], True))
@pytest.mark.parametrize("name", slow_but(REFERENCE, "xresnet18ssa", "xresnet34"))
def test_a_published_file_gives_the_logits_of_the_original(tmp_path, name, wrapped):
    """The file names no classes, but has as many outputs: one per class and view, in the order of their names."""
    state = published_state(name)
    content = {"model": state, "opt": {"state": {}, "param_groups": [{"lr": 0.01, "betas": (0.9, 0.99)}]}}
    torch.save(content if wrapped else state, tmp_path / "model.pth", _use_new_zipfile_serialization=wrapped)
    weights = read_weights(tmp_path / "model.pth")
    assert (weights.network, weights.classes) == (name, None)
    network = network_of(name, NAMES)
    start = start_with(network, weights, NAMES)
    assert start.new == [] and start.taken == start.tensors
    published_order = sorted(label + view for label in NAMES for view in VIEWS)
    expected = torch.tensor(REFERENCE[name]["logits"], dtype=torch.float64)
    expected = expected[:, [published_order.index(label + view) for view in VIEWS for label in NAMES]]
    with torch.no_grad():
        logits = network.double().eval()(fixed_pictures())
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("version", slow_but([1, 2], 2))
@pytest.mark.parametrize(("name", "expansion"), slow_but([("xresnet34", 1), ("xresnet50", 4)], ("xresnet34", 1)))
def test_bodies_of_later_versions_give_the_same_features(tmp_path, name, expansion, version):
    torch.manual_seed(3)
    published = later_xresnet((3, 4, 6, 3), expansion=expansion, version=version).eval()
    save_file(published.state_dict(), tmp_path / "weights.safetensors")
    weights = read_weights(tmp_path / "weights.safetensors")
    network = network_of(name, "ab").eval()
    before = {key: tensor.clone() for key, tensor in network.head.state_dict().items()}
    start = start_with(network, weights, ["a", "b"])
    with torch.no_grad():
        features = published[:8](fixed_pictures().float())
        torch.testing.assert_close(network.body(fixed_pictures().float()), features, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(before[key], tensor) for key, tensor in network.head.state_dict().items())
    assert len(start.new) == start.tensors - start.taken == 12 and "head.layers.0.weight (" in start.new[0]


def test_a_learner_of_a_later_version_gives_its_body_and_the_hidden_layers_of_its_head(tmp_path):
    torch.manual_seed(3)
    xresnet = later_xresnet((3, 4, 6, 3), expansion=1, version=2)
    head = torch.nn.Sequential(
        *(torch.nn.Identity(), torch.nn.Flatten(), torch.nn.BatchNorm1d(1024), torch.nn.Dropout()),
        *(torch.nn.Linear(1024, 512, bias=False), torch.nn.ReLU(), torch.nn.BatchNorm1d(512), torch.nn.Dropout()),
        torch.nn.Linear(512, 37, bias=False),
    )
    torch.save(torch.nn.Sequential(xresnet[:8], head).state_dict(), tmp_path / "learner.pth")
    network = network_of("xresnet34", NAMES)
    start = start_with(network, read_weights(tmp_path / "learner.pth"), NAMES)
    assert start.new == [
        "head.layers.2.bias (512, found none)",
        "head.layers.6.weight (320 x 512, found 37 x 512)",
        "head.layers.6.bias (320, found none)",
    ]
    assert torch.equal(network.head.layers[2].weight, head[4].weight)
    assert torch.equal(network.body[3 + 1].convolutions[0][0].weight, xresnet[4][0].convpath[0][0].weight)


def test_half_precision_becomes_single(tmp_path):
    state = published_state("xresnet34")
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    torch.save(state, tmp_path / "half.pth")
    tensors = read_weights(tmp_path / "half.pth").tensors
    assert torch.equal(tensors["body.0.0.weight"], state["0.0.0.weight"].float())


# Heads


@pytest.mark.parametrize("network", slow_but(OUTPUT, "xresnet18ssa"))
@pytest.mark.parametrize(
    ("theirs", "ours", "missing"),
    [
        ("abc", "abc", ""),
        ("abc", "cab", ""),
        ("abc", "acd", "d"),
        ("abcd", "bd", ""),
        ("ab", "bc", "c"),
    ],
)
def test_outputs_go_to_the_class_and_view_of_their_name(tmp_path, network, theirs, ours, missing):
    member = next(member for member in MEMBERS if member.network == network)
    folder, source = own_model(tmp_path / "model", member, list(theirs))
    target, new = network_of(network, ours), network_of(network, ours).state_dict()
    start = start_with(target, read_weights(folder), list(ours))
    for name, tensor in target.state_dict().items():
        found = source.state_dict()[name]
        if not name.startswith(OUTPUT[network]):
            assert torch.equal(tensor, found), name
            continue
        for view in range(4):
            for place, label in enumerate(ours):
                row = view * len(ours) + place
                expected = new[name][row] if label in missing else found[view * len(theirs) + theirs.index(label)]
                assert torch.equal(tensor[row], expected), (name, view, label)
    assert start.new == [f"{OUTPUT[network]}.{kind} of {missing}" for kind in ("weight", "bias") if missing]
    assert start.taken == start.tensors - len(start.new)
    assert start.source == str(folder)


def test_no_class_in_common_makes_the_last_layer_new_and_says_how_large_it_was(tmp_path, caplog):
    folder, _ = own_model(tmp_path / "model", MEMBERS[0], ["a", "b", "c"])
    target, new = network_of("xresnet18ssa", "de"), network_of("xresnet18ssa", "de").state_dict()
    caplog.set_level("INFO")
    start = start_with(target, read_weights(folder), ["d", "e"])
    assert start.new == ["head.2.weight (8 x 512, found 12 x 512)", "head.2.bias (8, found 12)"]
    assert torch.equal(target.head[2].weight, new["head.2.weight"])
    tensors = sum(not name.endswith("num_batches_tracked") for name in new)
    assert (start.taken, start.tensors) == (tensors - 2, tensors)
    assert f"took {tensors - 2} of {tensors} tensors of {folder}; new: head.2.weight (8 x 512, found 12" in caplog.text


@pytest.mark.parametrize(("ours", "taken"), [("ab", True), ("abc", False)])
def test_outputs_without_names_are_taken_if_there_are_as_many(tmp_path, ours, taken):
    folder, source = own_model(tmp_path / "model", MEMBERS[0], ["x", "y"])
    (folder / "weights.safetensors").rename(tmp_path / "alone.safetensors")
    target = network_of("xresnet18ssa", ours)
    start_with(target, read_weights(tmp_path / "alone.safetensors"), list(ours))
    assert (target.head[2].weight.shape == source.head[2].weight.shape) == taken
    if taken:
        assert torch.equal(target.head[2].weight, source.head[2].weight)


def test_the_digest_is_that_of_the_weights_and_their_classes(tmp_path):
    first, _ = own_model(tmp_path / "first", MEMBERS[0], ["a", "b"])
    again, _ = own_model(tmp_path / "again", MEMBERS[0], ["a", "b"])
    turned, _ = own_model(tmp_path / "turned", MEMBERS[0], ["b", "a"])
    other, _ = own_model(tmp_path / "other", MEMBERS[0], ["a", "b"], seed=2)
    digests = [read_weights(folder).digest for folder in (first, again, turned, other)]
    assert digests[0] == digests[1] and len(set(digests)) == 3


# Files that cannot be used


class Bomb:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_file_is_named_and_not_run(tmp_path, new_format):
    content = published_state("xresnet18ssa") | {"bomb": Bomb(tmp_path / "exploded")}
    torch.save(content, tmp_path / "weights.pth", _use_new_zipfile_serialization=new_format)
    with pytest.raises(
        UserError, match=r"weights.pth: expected tensors, found pickled code \([\w.]+\), which is not run"
    ):
        read_weights(tmp_path / "weights.pth")
    assert not (tmp_path / "exploded").exists()


def test_a_plain_pickle_is_not_run(tmp_path):
    (tmp_path / "weights.pth").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(UserError, match=r"weights.pth: expected"):
        read_weights(tmp_path / "weights.pth")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kind", ["safetensors", "torch", "torch before 1.6"])
@pytest.mark.parametrize("left", slow_but([0, 1, 7, 100, 0.5, 0.999], 0, 0.5))
def test_a_truncated_file_is_named(tmp_path, kind, left):
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth")
    state = network_of("xresnet18ssa", "ab").state_dict()
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "torch")
    content = path.read_bytes()
    path.write_bytes(content[: left if left >= 1 or left == 0 else int(left * len(content))])
    with pytest.raises(UserError, match=rf"{path.name}: expected .*copy it again"):
        read_weights(path)


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_pickle_is_refused_or_read(tmp_path, seed):
    """Whatever a few wrong bytes do to torch, the message is about the file."""
    path, broken = tmp_path / "weights.pth", tmp_path / "broken.pth"
    torch.save({"0.0.weight": torch.zeros(2)}, path)
    random = torch.Generator().manual_seed(seed)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(broken, "w") as target:
        for name in source.namelist():
            content = bytearray(source.read(name))
            if name.endswith("data.pkl"):
                for place in torch.randint(len(content), (3,), generator=random).tolist():
                    content[place] = int(torch.randint(256, (), generator=random))
            target.writestr(name, bytes(content))
    with pytest.raises(UserError, match=r"broken.pth: expected"):
        read_weights(broken)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "expected a state dict, which has nothing but tensors, found dict"),
        ([torch.zeros(2)], "expected a state dict, which has nothing but tensors, found list"),
        ({"0.0.weight": 3}, "expected a state dict, which has nothing but tensors, found dict"),
        ({"layer1.0.conv1.weight": torch.zeros(2)}, "found the tensor 'layer1.0.conv1.weight', unlike xresnet18ssa"),
    ],
)
def test_other_content_is_described(tmp_path, content, message):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=message):
        read_weights(tmp_path / "weights.pt")


def changed(network, change):
    state = published_state(network)
    change(state)
    return state


@pytest.mark.parametrize(
    ("network", "change", "message"),
    [
        (
            "xresnet18ssa",
            lambda state: state.update({"4.0.convs.0.0.weight": torch.zeros(128, 64, 3, 3)}),
            r"expected body.4.convolutions.0.0.weight of xresnet18ssa to be \[64, 64, 3, 3\], found \[128, 64, 3, 3\]",
        ),
        (
            "xresnet34",
            lambda state: state.pop("0.4.1.bn1.running_var"),
            "found no body.5.convolutions.0.1.running_var, unlike xresnet34;",
        ),
        (
            "xresnet50",
            lambda state: state.update({"0.7.3.conv1.weight": torch.zeros(512, 2048, 1, 1)}),
            "found the tensor 'body.20.convolutions.0.0.weight', unlike xresnet50;",
        ),
        (
            "xresnet34",
            lambda state: state["0.1.0.weight"].fill_(torch.nan),
            "expected finite weights, found others in body.1.0.weight",
        ),
    ],
)
def test_bodies_that_do_not_fit_are_refused_with_the_tensor(tmp_path, network, change, message):
    torch.save(changed(network, change), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=message):
        read_weights(tmp_path / "weights.pth")


def test_networks_with_the_same_names_of_tensors_are_told_apart_by_their_shapes(tmp_path, monkeypatch):
    widths = {"narrow": 8, "wide": 16, "wider": 24}
    others = {name: lambda outputs, width=width: Widths(width, outputs) for name, width in widths.items()}
    monkeypatch.setattr("audiotagging.training.weights_file.NETWORKS", others)
    for name in widths:
        torch.save(others[name](4).state_dict(), tmp_path / f"{name}.pth")
        assert read_weights(tmp_path / f"{name}.pth").network == name
    torch.save(others["wide"](4).state_dict() | {"body.0.0.weight": torch.zeros(16, 5)}, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=r"expected body.0.0.weight of wide to be \[16, 3\], found \[16, 5\]"):
        read_weights(tmp_path / "odd.pth")


class Widths(torch.nn.Module):
    """A body of some width, and a head."""

    def __init__(self, width, outputs):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(3, width)), torch.nn.Linear(width, 2))
        self.head = torch.nn.Linear(2, outputs)


def test_an_xresnet_without_attention_is_none_of_the_networks_with_18_layers(tmp_path):
    torch.save(later_xresnet((2, 2, 2, 2), expansion=1, version=1).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"expected weights of xresnet18ssa, .*, found no body.5.attention"):
        read_weights(tmp_path / "weights.pth")


def test_a_missing_file_and_changed_weights_of_a_model_are_named(tmp_path):
    with pytest.raises(UserError, match=r"absent.pth: expected a file of weights, found none"):
        read_weights(tmp_path / "absent.pth")
    folder, network = own_model(tmp_path / "model", MEMBERS[0], ["a"])
    save_file({name: tensor + 1 for name, tensor in network.state_dict().items()}, folder / "weights.safetensors")
    with pytest.raises(UserError, match=r"expected the weights that member.json describes"):
        read_weights(folder)


def test_counters_of_batch_norm_may_be_missing(tmp_path):
    state = {name: tensor for name, tensor in published_state("xresnet18ssa").items() if "tracked" not in name}
    torch.save(state, tmp_path / "old.pth")
    start = start_with(network_of("xresnet18ssa", NAMES), read_weights(tmp_path / "old.pth"), NAMES)
    assert start.new == []
