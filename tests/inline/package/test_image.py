"""Saved images that a host of OpenRecon cannot load or start, and what the message says to do."""

import gzip

import pytest

from inline.package.image import START, check_image
from inline.package.label import LABEL_NAME, encoded, make_label
from inline.package.schema import PackageError
from tests.inline.package.images import write_tar

OTHER = encoded(make_label("site", "1.2.4"))


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"User": None},
        {"User": "0:0"},
        {"Entrypoint": [START[0]], "Cmd": list(START[1:])},
        {"Entrypoint": list(START), "Cmd": None},
    ],
)
def test_an_image_with_label_root_and_command_passes(saved, label, good):
    check_image(saved(**good), label, "build")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"Labels": None}, "no OpenRecon label; build it with build"),
        ({"Labels": {LABEL_NAME.replace("openrecon", "OpenRecon"): OTHER}}, "no OpenRecon label"),
        ({"Labels": {LABEL_NAME: OTHER}}, "another OpenRecon label"),
        ({"Labels": {LABEL_NAME: "e30="}}, "does not follow metadata"),
        ({"Labels": [LABEL_NAME]}, "no OpenRecon label"),
        ({"Labels": {LABEL_NAME: "%"}}, "no JSON in base64"),
        ({"User": "myostream"}, "runs as myostream; OpenRecon needs root"),
        ({"User": "1000:0"}, "runs as 1000"),
        ({"Cmd": ["myostream", "serve"]}, "starts myostream serve in place of myostream serve -H 0.0.0.0"),
        ({"Cmd": None}, "starts nothing"),
        ({"Cmd": 5}, "starts 5 in place"),
        ({"Cmd": "myostream"}, "starts myostream in place"),
        ({"platform": ("linux", "arm64")}, "--platform linux/amd64"),
        ({"manifest": []}, "does not hold one image"),
        ({"manifest": [{"Config": "1f.json"}, {"Config": "1f.json"}]}, "does not hold one image"),
        (
            {"manifest": [{"Config": "1f.json", "Layers": ["3d.tar"]}]},
            r"lacks layers of its image \(3d.tar\)",
        ),
        ({"manifest": [{"Config": "0.json", "Layers": ["2e.tar"]}]}, "it has no 0.json"),
        ({"manifest": [{"Config": "1f.json"}]}, "does not hold one image"),
        ({"manifest": [{"Config": "1f.json", "Layers": [["2e.tar"]]}]}, "does not hold one image"),
        ({"manifest": [{"Config": "1f.json", "Layers": 1}]}, "does not hold one image"),
        ({"manifest": {"Config": "1f.json"}}, "does not hold one image"),
        ({"more": {"manifest.json": "{"}}, "cannot be read"),
        ({"more": {"oci-layout": "{}"}}, "OCI layout.*Docker before version 25"),
    ],
)
def test_another_image_is_refused_with_what_to_do(saved, label, wrong, problem):
    with pytest.raises(PackageError, match=problem):
        check_image(saved(**wrong), label, "build")


def test_files_that_are_no_saved_image_are_refused(saved, label, tmp_path):
    with pytest.raises(PackageError, match="not with 'export'"):
        check_image(write_tar(tmp_path / "rootfs.tar", {"bin/sh": ""}), label, "build")
    good = saved()
    packed, cut = tmp_path / "image.tar.gz", tmp_path / "cut.tar"
    packed.write_bytes(gzip.compress(good.read_bytes()))
    cut.write_bytes(good.read_bytes()[:500_000])
    for file in (packed, cut):
        with pytest.raises(PackageError, match="uncompressed tar file"):
            check_image(file, label, "build")
