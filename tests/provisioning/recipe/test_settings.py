"""`[provision]`: defaults, and one clear line for everything that can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.core.errors import ConfigError
from provisioning.recipe.settings import ProvisionSettings, read_settings


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "edged.toml"
    path.write_text(text)
    return path


def test_one_key_is_enough(tmp_path: Path) -> None:
    settings = read_settings(write(tmp_path, '[provision]\nweights = "yolov5n"\n'))
    assert (settings.precision, settings.input_wh, settings.decode) == ("fp16", None, "auto")


def test_other_tables_are_none_of_its_business(tmp_path: Path) -> None:
    text = '[device]\nid = "a"\n[provision]\nweights = "a.pt"\nsize = "640x384"\n[mqtt]\nhost = "b"\n'
    assert read_settings(write(tmp_path, text)).input_wh == (640, 384)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param(
            'precison = "int8"', ':3: [provision] precison: unknown key; did you mean "precision"?', id="typo"
        ),
        pytest.param(
            'precision = "int4"', ":3: [provision] precision: input should be 'fp32', 'fp16' or 'int8'", id="choice"
        ),
        pytest.param("size = 640", ":3: [provision] size: input should be a valid string", id="type"),
        pytest.param('size = "630"', ":3: [provision] size: must be like 640 or 640x384", id="not-a-multiple"),
        pytest.param('size = "99999"', ":3: [provision] size: must be like 640", id="too-large"),
        pytest.param("batch = [4, 1, 2]", ":3: [provision] batch: must be three ascending numbers", id="batch"),
        pytest.param(
            "batch = [0, 1, 2]", ":3: [provision] batch: input should be greater than or equal to 1", id="batch-0"
        ),
        pytest.param("batch = [4, 4, 8]", ":3: [provision] batch: must begin with 1", id="batch-of-4"),
        pytest.param('gpus = "all"', ":3: [provision] gpus: must be a list of compute capabilities", id="gpus-text"),
        pytest.param('gpus = ["sm86"]', ":3: [provision] gpus: must be a list of compute capabilities", id="gpus-name"),
        pytest.param('tensorrt = "cuda"', ":3: [provision] tensorrt: input should be 'auto', 'tensorrt'", id="kind"),
        pytest.param("frames_count = 0", ":3: [provision] frames_count: input should be greater", id="no-frames"),
        pytest.param('sha256 = "abc"', ":3: [provision] sha256: string should match", id="hash"),
        pytest.param('name = "a/b"', ":3: [provision] name: string should match", id="name"),
        pytest.param("max_fall = nan", ":3: [provision] max_fall: input should be less", id="nan"),
        pytest.param("trust_first = 1", ":3: [provision] trust_first: input should be a valid boolean", id="bool"),
        pytest.param(
            'precision = "int8"', ':1: [provision]: precision = "int8" needs frames', id="int8-without-frames"
        ),
        pytest.param('dataset = "d.yaml"', ":1: [provision]: needs one of weights", id="two-origins"),
        pytest.param('source = "oci://a.org/b:1"', ":1: [provision]: needs one of weights", id="weights-and-source"),
        pytest.param('source = "a.org/b:1"', ":3: [provision] source: must be oci://", id="source-form"),
        pytest.param('source = "oci://a.org/b"', ":3: [provision] source: 'oci://a.org/b' does not name", id="no-tag"),
    ],
)
def test_a_wrong_key_is_named_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(write(tmp_path, f'[provision]\nweights = "a.pt"\n{line}\n'))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[mqtt]\n", r"has no \[provision\] table", id="no-table"),
        pytest.param("[provision]\n", "needs one of weights", id="empty"),
        pytest.param('[provision]\nsource = "oci://a.org/b:1"\n', "source needs either verify_key", id="no-key"),
        pytest.param("[provision\n", "not valid TOML", id="torn"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_settings(write(tmp_path, text))


def test_a_missing_file_and_one_that_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_settings(tmp_path / "missing.toml")
    (tmp_path / "latin.toml").write_bytes(b'[provision]\nname = "\xe4"\n')
    with pytest.raises(ConfigError, match=r"latin\.toml: line 2 is not UTF-8: byte 0xe4"):
        read_settings(tmp_path / "latin.toml")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_that_a_windows_editor_saved_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "edged.toml"
    path.write_text('[provision]\r\nname = "yard"\r\nweights = "Füße.pt"\r\n', encoding, newline="")
    assert read_settings(path).weights == "Füße.pt"


def test_a_file_is_never_read_in_part(tmp_path: Path) -> None:
    text = '[provision]\nweights = "yolov5n"\n' + "# a long remark\n" * 70_000 + 'precision = "int8"\n'
    with pytest.raises(ConfigError, match=r"edged\.toml: larger than 1048576 bytes"):
        read_settings(write(tmp_path, text))


def test_every_key_is_described() -> None:
    documentation = ProvisionSettings.__doc__ or ""
    assert [name for name in ProvisionSettings.model_fields if name not in documentation] == []
