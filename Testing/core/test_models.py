"""Model folders: found, and refused unless every file is the one the card describes and computes what it promises."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core.conftest import make_model

from KernelNormalizationLib.core.errors import InputError, ModelError
from KernelNormalizationLib.core.methods.registry import create_normalizer
from KernelNormalizationLib.core.network.backends import available_cpu_backends, choose_backend
from KernelNormalizationLib.core.network.model_files import CARD_HASH, with_own_hash
from KernelNormalizationLib.core.network.model_folder import (
    CARD,
    DEFAULT,
    ONNX,
    WEIGHTS,
    Model,
    default_model,
    list_models,
    load_model,
    model_label,
    models_folder,
    sha256_of,
)

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may damage."""
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


def rewrite_card(folder: Path, edit: Edit, exported: bool = True) -> None:
    """Change the card; ``exported`` also writes the hash of its entries again, as an export would."""
    card = json.loads((folder / CARD).read_text())
    edit(card)
    (folder / CARD).write_text(json.dumps(with_own_hash(card) if exported else card))


def test_a_whole_folder_is_read(model_folder: Path) -> None:
    model = load_model(model_folder)
    assert model.id == "tiny-residual"
    assert model.residual
    assert model.inputs == ("sharp", "base", "lost")
    assert model.label == "UNet on the restored linear transfer"
    assert model.sha256 == sha256_of(model.weights)
    vectors = model.conformance()
    assert len(vectors) == 2
    for vector in vectors:
        sharp, base, lost = vector.images
        assert sharp.shape == base.shape == lost.shape == vector.expected.shape == (1, 1, 64, 64)
        assert sharp.min() == -1024.0
        assert lost.min() < 0.0 == lost.max()
        # a vector in which the network does nothing would prove nothing
        assert np.abs(vector.expected - base).max() > 10.0


def test_a_direct_network_is_told_the_sharp_image_alone(direct_model: Model) -> None:
    assert direct_model.inputs == ("sharp",)
    assert direct_model.label == "as in the paper (direct UNet)"
    for vector in direct_model.conformance():
        assert len(vector.images) == 1
        assert np.abs(vector.expected - vector.images[0]).max() > 10.0


@pytest.mark.parametrize("name", [WEIGHTS, ONNX])
def test_a_changed_file_is_refused_with_both_checksums(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    expected = sha256_of(folder / name)
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match="damaged or changed") as caught:
        load_model(folder)
    assert expected in str(caught.value)
    assert sha256_of(folder / name) in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", [WEIGHTS, ONNX])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing; copy"):
        load_model(folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda card: card.update(id="another"),
        lambda card: card["architecture"].update(features=[4, 8, 8, 32]),
        lambda card: card["architecture"].update(type="Transformer"),
        lambda card: card["domain"].update(makers=["GE"]),
        lambda card: card.update(licence=None),
        lambda card: card.update(ei_error_strata=[]),
        lambda card: card.pop("domain"),
        lambda card: card["sha256"].update({CARD: "0" * 64}),
    ],
)
def test_a_card_changed_after_the_export_is_refused(folder: Path, edit: Edit) -> None:
    rewrite_card(folder, edit, exported=False)
    with pytest.raises(ModelError, match=r"card\.json was damaged or changed after its model was exported"):
        load_model(folder)


def test_a_card_laid_out_in_another_way_is_the_same_card(folder: Path) -> None:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(dict(reversed(card.items())), indent=7))
    assert load_model(folder).sha256 == card["sha256"][WEIGHTS]


def test_a_card_of_an_older_export_states_no_hash_of_itself_and_is_read(folder: Path) -> None:
    rewrite_card(folder, lambda card: card.pop(CARD_HASH), exported=False)
    assert load_model(folder).id == "tiny-residual"


def test_every_file_that_the_card_names_is_verified(folder: Path) -> None:
    (folder / "calibration.txt").write_text("1 2 3")
    rewrite_card(folder, lambda card: card["sha256"].update({"calibration.txt": sha256_of(folder / "calibration.txt")}))
    assert load_model(folder).id == "tiny-residual"
    (folder / "calibration.txt").write_text("1 2 4")
    with pytest.raises(ModelError, match=r"calibration\.txt has SHA-256 .* damaged or changed"):
        load_model(folder)
    (folder / "calibration.txt").unlink()
    with pytest.raises(ModelError, match=r"calibration\.txt is missing; copy"):
        load_model(folder)


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname"])
def test_a_card_that_names_files_elsewhere_is_refused(folder: Path, name: str) -> None:
    rewrite_card(folder, lambda card: card["sha256"].update({name: "0" * 64}))
    with pytest.raises(ModelError, match="outside its folder"):
        load_model(folder)


def test_weights_that_no_card_names_are_refused_and_other_files_left_alone(folder: Path) -> None:
    for name in (".DS_Store", "README.md", "Thumbs.db"):
        (folder / name).write_bytes(b"\0")
    (folder / "members").mkdir()
    assert load_model(folder).id == "tiny-residual"
    (folder / "model.onnx.data").write_bytes(b"\0")
    with pytest.raises(ModelError, match=r"holds model\.onnx\.data, which its card does not name"):
        load_model(folder)


def test_the_supplied_cards_state_their_own_hash() -> None:
    for name in list_models():
        assert CARD_HASH in load_model(name).card


@pytest.mark.parametrize(
    "key", ["id", "label", "kernel_pair", "architecture", "training_data", "metrics", "licence", "sha256", "conformance"]
)
def test_a_card_without_a_required_entry_is_refused_by_name(folder: Path, key: str) -> None:
    rewrite_card(folder, lambda card: card.pop(key))
    with pytest.raises(ModelError, match=f"lacks {key};"):
        load_model(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\udcff"])
def test_a_card_that_is_no_card_is_refused(folder: Path, text: str) -> None:
    (folder / CARD).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match=CARD):
        load_model(folder)


@pytest.mark.parametrize("version", [0, 3, None, "2"])
def test_a_card_of_another_format_is_refused_with_both_numbers(folder: Path, version: object) -> None:
    rewrite_card(folder, lambda card: card.update(format=version))
    with pytest.raises(ModelError, match=f"has format {version}, this version reads 2"):
        load_model(folder)


def test_a_card_of_the_first_format_is_refused_with_the_reason(folder: Path) -> None:
    def edit(card: dict[str, Any]) -> None:
        card.update(format=1)
        del card["label"]  # that format had none

    rewrite_card(folder, edit)
    with pytest.raises(ModelError, match=r"format 1: its network needs the HU floor as an input.* again in format 2"):
        load_model(folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda card: card.update(sha256="abc"),
        lambda card: card.update(conformance=[{}]),
        lambda card: card.update(conformance="none"),
        lambda card: card["conformance"][0].update(sharp=["1 2", "x y"]),
        lambda card: card["conformance"][0]["expected"].append("1 2 3"),
        lambda card: card.update(architecture=None),
        lambda card: card["architecture"].pop("residual"),
        lambda card: card.update(transfer={"kernel": "B80f"}),
        lambda card: card.update(transfer={"kernel": "B80f", "step_lp_per_cm": 0.1, "gains": [1.0]}),
    ],
)
def test_a_card_with_nonsense_in_it_is_refused(folder: Path, edit: Edit) -> None:
    rewrite_card(folder, edit)
    with pytest.raises(ModelError, match="is damaged"):
        load_model(folder)


def test_a_card_that_promises_nothing_is_refused(folder: Path) -> None:
    rewrite_card(folder, lambda card: card.update(conformance=[]))
    with pytest.raises(ModelError, match="no conformance vector"):
        load_model(folder)


@pytest.mark.parametrize("off", ["12.5", "nan"])
def test_a_network_that_does_not_reproduce_its_vectors_is_refused(folder: Path, off: str) -> None:
    def edit(card: dict[str, Any]) -> None:
        rows = card["conformance"][1]["expected"]
        values = rows[20].split()
        values[20] = off if off == "nan" else str(float(values[20]) + float(off))
        rows[20] = " ".join(values)

    rewrite_card(folder, edit)
    model = load_model(folder)
    with pytest.raises(ModelError, match="does not reproduce its test images") as caught:
        choose_backend(model, "cpu")
    assert f"{off.removesuffix('0')}" in str(caught.value)
    for backend in available_cpu_backends():
        assert backend in str(caught.value)


@pytest.mark.slow
def test_a_network_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    model = load_model(make_model(tmp_path / "broken", broken=True))
    with pytest.raises(ModelError, match="does not reproduce"):
        choose_backend(model, "cpu")


def test_weights_that_are_not_a_network_are_refused_though_their_checksums_fit(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (WEIGHTS, ONNX):
        (folder / name).write_bytes(b"not a network")
    rewrite_card(folder, lambda card: card.update(sha256={name: sha256_of(folder / name) for name in (WEIGHTS, ONNX)}))
    with pytest.raises(ModelError, match="No library here runs this model correctly") as caught:
        choose_backend(load_model(folder), "cpu")
    for words in (str(caught.value), caplog.text):  # the libraries' own words help no user
        assert "cannot read or run this network" in words
        assert not re.search(r"Exception|Check '|\.cpp|\.py\b|Error", words.replace("backends.py", ""))


def test_a_folder_without_a_card_says_where_models_come_from(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no card\.json"):
        load_model(tmp_path)


def test_an_unknown_model_is_answered_with_those_there_are() -> None:
    with pytest.raises(InputError, match="There is no model nonesuch; installed are"):
        load_model("nonesuch")
    with pytest.raises(InputError, match="There is no model nonesuch"):
        create_normalizer("unet", model="nonesuch", device="cpu")


def test_models_are_listed_by_name(model_folder: Path, tmp_path: Path) -> None:
    for name in ("b", "a"):
        shutil.copytree(model_folder, tmp_path / name)
    (tmp_path / "not a model").mkdir()
    assert list_models(tmp_path) == ["a", "b"]
    assert list_models(tmp_path / "a") == []


def test_the_default_model_is_named_and_not_the_last_by_name(model_folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(model_folder, tmp_path / name)
    with pytest.raises(ModelError, match=r"default\.json names no default model"):
        default_model(tmp_path)
    (tmp_path / DEFAULT).write_text('{"model": "a"}')
    assert default_model(tmp_path) == "a"
    (tmp_path / DEFAULT).write_text('{"model": "c"}')
    with pytest.raises(ModelError, match="names the model c; installed are: a, b"):
        default_model(tmp_path)


def test_models_are_offered_with_a_label_even_if_they_cannot_be_used(folder: Path) -> None:
    assert model_label(folder) == "UNet on the restored linear transfer"
    (folder / CARD).write_text("{}")
    assert model_label(folder) == "copy"


def test_every_model_that_comes_with_the_product_is_whole_and_computes() -> None:
    names = list_models()
    if not names:
        pytest.skip("no model comes with the product yet")
    for name in names:
        assert (models_folder() / name).is_dir()
        model = load_model(name)
        assert model.id == name
        choose_backend(model, "cpu")
    assert load_model().id == default_model() in names


@pytest.mark.parametrize("damage", ["no output", "no text"])
def test_a_network_that_a_library_cannot_read_is_left_to_another_one(tmp_path: Path, damage: str) -> None:
    """OpenVINO answered these with a KeyError and a UnicodeDecodeError; the card was sealed anew, so its hashes fit."""
    onnx = pytest.importorskip("onnx")
    folder = tmp_path / "model"
    shutil.copytree(models_folder() / default_model(), folder)
    network = onnx.load(str(folder / "model.onnx"))
    if damage == "no output":
        del network.graph.output[:]
    content = network.SerializeToString()
    if damage == "no text":
        content = content.replace(b"Conv", b"\xff\xfe\x91v")
    (folder / "model.onnx").write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    card["sha256"]["model.onnx"] = sha256_of(folder / "model.onnx")
    (folder / "card.json").write_text(json.dumps(with_own_hash(card)))
    if "torch" not in available_cpu_backends():
        pytest.skip("torch, which reads the weights instead, is not installed")
    assert "torch computes" in choose_backend(load_model(folder), "cpu").reason
