from __future__ import annotations

import pytest

from edged.core.names import RESERVED_CAMERA_NAMES, require_camera_name
from edged.publish.topics import Topics


def test_topics_follow_prefix_and_device() -> None:
    topics = Topics("box-1", "site/edged")
    assert topics.status == "site/edged/box-1/status"
    assert topics.info == "site/edged/box-1/info"
    assert topics.stats == "site/edged/box-1/stats"
    assert topics.camera_status("gate") == "site/edged/box-1/gate/status"
    assert topics.camera_health("gate") == "site/edged/box-1/gate/health"
    assert topics.detections("gate") == "site/edged/box-1/gate/detections"


@pytest.mark.parametrize("name", ["", "Gate", "a/b", "a+", "#", "ä", "a b", "a\n", "x" * 65])
def test_names_that_are_no_topic_level_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="topic level"):
        require_camera_name(name)
    with pytest.raises(ValueError, match="device id"):
        Topics(name)


@pytest.mark.parametrize("name", sorted(RESERVED_CAMERA_NAMES))
def test_camera_names_of_device_topics_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        require_camera_name(name)


@pytest.mark.parametrize("prefix", ["", "/", "/a", "a/", "a//b", "a/#", "+", "$SYS", "a\x00", "a\n"])
def test_prefixes_that_are_no_topic_are_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        Topics("box", prefix)


@pytest.mark.parametrize("name", ["gate", "0", "a_b-c", "x" * 64])
def test_plain_names_are_taken(name: str) -> None:
    require_camera_name(name)
    assert Topics(name).base == f"edged/{name}"
