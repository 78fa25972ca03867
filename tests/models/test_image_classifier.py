"""Classifiers: shapes, normalisation, stems, the saved form, and what is refused."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from pathsynth.data.tensors import dihedral
from pathsynth.ledger.errors import RequestError
from pathsynth.models import image_classifier as module
from pathsynth.models.image_classifier import Classifier, ClassifierSpec, Ensemble, load_classifier, save_classifier
from pathsynth.vocabulary.labels import COLORECTAL, LabelSpace


def spec(architecture: str = "resnet18", size: int = 28, stem: str = "small") -> ClassifierSpec:
    return ClassifierSpec(architecture, size, stem, COLORECTAL.slugs, COLORECTAL.name)


def images(n: int = 2, size: int = 28) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def small() -> Classifier:
    torch.manual_seed(0)
    return Classifier(spec("regnetx_002")).eval()


@pytest.mark.parametrize(("architecture", "width"), [("resnet18", 512), ("regnetx_004", 384)])
def test_logits_and_features_have_their_shapes(architecture, width):
    classifier = Classifier(spec(architecture)).eval()
    assert classifier(images()).shape == (2, 9)
    assert classifier.features(images()).shape == (2, width)


def test_the_last_layer_sees_the_features(small):
    with torch.no_grad():
        torch.testing.assert_close(small.network.head.fc(small.features(images())), small(images()))


def test_normalisation_lies_inside(small):
    mean, std = (torch.tensor(small.network.pretrained_cfg[k]).view(3, 1, 1) for k in ("mean", "std"))
    with torch.no_grad():
        torch.testing.assert_close(small(images()), small.network((images() - mean) / std))
        assert not torch.allclose(small(images()), small.network(images()))


def test_the_small_stem_keeps_more_pixels_than_the_stock_stem():
    stock, small = Classifier(spec(stem="stock", size=64)), Classifier(spec(size=64))
    assert stock.network.conv1.stride == (2, 2)
    assert stock.network.conv1.kernel_size == (7, 7)
    assert small.network.conv1.stride == (1, 1)
    assert small.network.conv1.kernel_size == (3, 3)
    assert small.network.forward_features(images(1, 64)).shape[-1] == 2 * stock.network.forward_features(images(1, 64)).shape[-1]


@pytest.mark.parametrize(
    ("architecture", "why"),
    [("dla46_c", "dla46_c with the small stem cannot take 28 px"), ("repvgg_a0", "repvgg_a0 does not start with one plain")],
)
def test_an_architecture_that_cannot_take_such_images_or_such_a_stem_is_refused(architecture, why):
    with pytest.raises(RequestError, match=why):
        Classifier(spec(architecture))


def test_an_unknown_architecture_comes_with_its_neighbours():
    with pytest.raises(RequestError, match=r"no architecture 'resnet-18'.*resnet18"):
        Classifier(spec("resnet-18"))


def test_what_is_saved_is_loaded_bit_for_bit(small, tmp_path):
    small.train()(images(4))
    small.temperature = 2.5
    save_classifier(tmp_path, small, {"data": "a phantom", "seed": 3})
    loaded = load_classifier(tmp_path, COLORECTAL)
    assert not loaded.training
    assert loaded.spec == small.spec
    with torch.no_grad():
        assert torch.equal(loaded(images()), small.eval()(images()))
        assert torch.allclose(loaded.probabilities(images()), (small(images()).double() / 2.5).softmax(dim=1))
    small.temperature = 1.0
    assert json.loads((tmp_path / "classifier.json").read_text())["card"] == {"data": "a phantom", "seed": 3}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["classifier.json", "classifier.safetensors"]


def test_another_label_space_is_refused(small, tmp_path):
    save_classifier(tmp_path, small, {})
    fewer = LabelSpace("two tissues", COLORECTAL.classes[:2])
    with pytest.raises(RequestError, match=r"'colorectal tissue'.*not on 'two tissues'"):
        load_classifier(tmp_path, fewer)
    turned = LabelSpace(COLORECTAL.name, COLORECTAL.classes[::-1])
    with pytest.raises(RequestError, match=r"not on 'colorectal tissue' \(adenocarcinoma, "):
        load_classifier(tmp_path, turned)


def test_the_same_classes_under_another_name_are_the_same(small, tmp_path):
    save_classifier(tmp_path, small, {})
    assert load_classifier(tmp_path, LabelSpace("a folder that was renamed", COLORECTAL.classes)).spec.classes == COLORECTAL.slugs


def test_missing_truncated_or_foreign_files_are_refused(small, tmp_path):
    with pytest.raises(RequestError, match="no usable classifier"):
        load_classifier(tmp_path, COLORECTAL)
    save_classifier(tmp_path, small, {})
    weights = tmp_path / "classifier.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RequestError, match="no usable classifier"):
        load_classifier(tmp_path, COLORECTAL)
    save_file({"other": torch.zeros(2)}, weights)
    with pytest.raises(RequestError, match="do not fit regnetx_002"):
        load_classifier(tmp_path, COLORECTAL)


@pytest.mark.parametrize("offline", [False, True])
def test_pretrained_weights_fail_within_a_second_without_a_network(offline, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", str(int(offline)))
    monkeypatch.setattr(module, "hf_hub_url", lambda *_: "http://127.0.0.1:9/model.safetensors")
    started = time.monotonic()
    with pytest.raises(RequestError, match=r"^the pretrained weights of resnet18 .*set pretrained=false") as caught:
        Classifier(spec(), pretrained=True)
    assert time.monotonic() - started < 1
    assert "\n" not in str(caught.value)


def test_pretrained_weights_in_the_cache_are_used_and_the_small_stem_keeps_their_middle(tmp_path, monkeypatch):
    torch.manual_seed(1)
    source = timm.create_model("resnet18", num_classes=1000).state_dict()
    save_file(source, tmp_path / "model.safetensors")
    monkeypatch.setattr(module, "try_to_load_from_cache", lambda *_, **__: str(tmp_path / "model.safetensors"))
    classifier = Classifier(spec(), pretrained=True)
    assert torch.equal(classifier.network.conv1.weight, source["conv1.weight"][:, :, 2:5, 2:5])
    assert torch.equal(classifier.network.layer4[1].conv2.weight, source["layer4.1.conv2.weight"])
    assert classifier(images()).shape == (2, 9)


def test_an_architecture_without_published_weights_says_so():
    with pytest.raises(RequestError, match="no pretrained weights for darknet17"):
        module._pretrained_file("darknet17", None)


def test_pretrained_weights_are_known_by_repository_and_commit(tmp_path, monkeypatch):
    """The hub's cache as its client lays it out: one commit that ``main`` stands for, and an older one."""
    hub = tmp_path / "models--timm--resnet18.a1_in1k"
    for commit in ("a" * 40, "b" * 40):
        (hub / "snapshots" / commit).mkdir(parents=True)
        (hub / "snapshots" / commit / "model.safetensors").write_bytes(b"weights")
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("b" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert module.pretrained_weights("resnet18") == module.PretrainedWeights("timm/resnet18.a1_in1k", "b" * 40)
    assert module._pretrained_file("resnet18", "a" * 40) == str(hub / "snapshots" / ("a" * 40) / "model.safetensors")
    with pytest.raises(RequestError, match=r"^the pretrained weights of resnet34 \(timm/.*HF_HUB_OFFLINE is set.*set pretrained=false"):
        module.pretrained_weights("resnet34")


def test_a_narrow_network_has_half_the_channels_and_is_read_back(tmp_path):
    torch.manual_seed(0)
    narrow = Classifier(replace(spec(), width=0.5, tta_d4=True)).eval()
    assert narrow.features(images()).shape == (2, 256)
    save_classifier(tmp_path, narrow, {})
    again = load_classifier(tmp_path, COLORECTAL)
    assert again.spec == narrow.spec
    with torch.no_grad():
        assert torch.equal(again.probabilities(images()), narrow.probabilities(images()))


def test_a_network_without_a_width_is_refused():
    with pytest.raises(RequestError, match=r"regnetx_002 has no width to set; set width=1"):
        Classifier(replace(spec("regnetx_002"), width=0.5))


def test_a_mean_over_orientations_is_the_same_for_each_of_them(small):
    turning = Classifier(replace(small.spec, tta_d4=True)).eval()
    turning.load_state_dict(small.state_dict())
    turned = torch.cat([dihedral(images(1), torch.tensor([k])) for k in range(8)])
    with torch.no_grad():
        means, plain = turning.probabilities(turned), small.probabilities(turned)
        torch.testing.assert_close(means, means[:1].expand(8, -1))
        torch.testing.assert_close(turning.logits(images(1))[0], small.logits(turned).mean(dim=0))
    assert (plain - plain[:1]).abs().max() > 1e-4


@pytest.fixture
def ensemble() -> Ensemble:
    members = []
    for seed, temperature in enumerate((0.7, 1.4, 1.0)):
        torch.manual_seed(seed)
        members.append(Classifier(spec("regnetx_002")).eval())
        members[-1].temperature = temperature
    found = Ensemble(members).eval()
    found.temperature = 0.9
    return found


def test_an_ensemble_answers_with_the_mean_of_its_members_calibrated_probabilities(ensemble):
    with torch.no_grad():
        expected = torch.stack([(member(images()).double() / member.temperature).softmax(dim=1) for member in ensemble.members]).mean(dim=0)
        torch.testing.assert_close(ensemble(images()).exp(), expected)
        sharpened = expected ** (1 / 0.9)
        torch.testing.assert_close(ensemble.probabilities(images()), sharpened / sharpened.sum(dim=1, keepdim=True))
        widths = [member.features(images()).shape[1] for member in ensemble.members]
        assert ensemble.features(images()).shape == (2, sum(widths))


def test_an_ensemble_comes_back_from_its_folder_to_the_bit(ensemble, tmp_path):
    save_classifier(tmp_path, ensemble, {"seed": 0})
    again = load_classifier(tmp_path, COLORECTAL)
    assert isinstance(again, Ensemble)
    assert (again.spec.members, again.temperatures, again.temperature) == (3, [0.7, 1.4, 1.0], 0.9)
    with torch.no_grad():
        assert torch.equal(again.probabilities(images()), ensemble.probabilities(images()))


def test_an_ensemble_whose_description_was_changed_is_refused(ensemble, tmp_path):
    save_classifier(tmp_path, ensemble, {"seed": 0})
    path = tmp_path / "classifier.json"
    path.write_text(path.read_text().replace('"members": 3', '"members": 1000000000'))
    with pytest.raises(RequestError, match="no usable classifier .*3 temperatures of 1000000000 members"):
        load_classifier(tmp_path, COLORECTAL)
