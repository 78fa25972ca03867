from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from pathsynth.ledger.errors import StageError
from pathsynth.ledger.weights import weights_digest


def test_metadata_and_their_order_do_not_count(tmp_path):
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file({"x": np.arange(4.0), "y": np.ones(2)}, path, metadata={"format": "pt", "lora": "{}"})
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    turned = json.dumps({**header, "__metadata__": dict(reversed(header["__metadata__"].items()))}).encode()
    other.write_bytes(len(turned).to_bytes(8, "little") + turned + content[end:])
    assert other.read_bytes() != content
    assert weights_digest(other) == weights_digest(path)
    save_file({"x": np.arange(4.0), "y": np.ones(2)}, other, metadata={"lora": '{"targets": ["to_q"]}'})
    assert weights_digest(other) == weights_digest(path)


@pytest.mark.parametrize("changed", ["value", "name", "shape"])
def test_everything_else_counts(tmp_path, changed):
    tensors = {"x": np.arange(4.0)}
    save_file(tensors, tmp_path / "a")
    if changed == "value":
        tensors["x"][3] = np.nextafter(3.0, 4.0)
    if changed == "name":
        tensors = {"y": tensors["x"]}
    if changed == "shape":
        tensors = {"x": np.arange(4.0).reshape(2, 2)}
    save_file(tensors, tmp_path / "b")
    assert weights_digest(tmp_path / "a") != weights_digest(tmp_path / "b")


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"\x02\0\0\0\0\0\0\0{", b"\x02\0\0\0\0\0\0\0[]"])
def test_what_is_no_safetensors_file_is_reported(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(StageError, match="cannot be read as safetensors"):
        weights_digest(tmp_path / "a")
    with pytest.raises(StageError):
        weights_digest(tmp_path / "none")
