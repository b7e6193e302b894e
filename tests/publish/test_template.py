from __future__ import annotations

import pytest

from edged.publish.template import require_template, router, tells_apart
from edged.publish.topics import Topics

TOPICS = Topics("box", "site/edged")
BAG = "devices/{device}/messages/events/camera={camera}&kind={kind}"


@pytest.mark.parametrize(
    ("text", "own", "sent_on"),
    [
        ("", TOPICS.events("gate"), "site/edged/box/gate/events"),
        ("edged/{device}/{camera}/{kind}", TOPICS.events("gate"), "edged/box/gate/events"),
        ("edged/{device}/{camera}/{kind}", TOPICS.status, "edged/box/status"),
        (BAG, TOPICS.events("gate"), "devices/box/messages/events/camera=gate&kind=events"),
        (BAG, TOPICS.stats, "devices/box/messages/events/camera=&kind=stats"),
        ("devices/x/messages/events/", TOPICS.detections("gate"), "devices/x/messages/events/"),
        ("{camera}/{kind}", TOPICS.info, "info"),
        ("a/{kind}/{kind}-{camera}", TOPICS.camera_health("gate"), "a/health/health-gate"),
        (BAG, "old/prefix/old-box/gate/events", "devices/box/messages/events/camera=gate&kind=events"),
        (BAG, "site/edged/old-box/gate/events", "devices/box/messages/events/camera=gate&kind=events"),
    ],
)
def test_template_makes_every_topic(text: str, own: str, sent_on: str) -> None:
    assert router(TOPICS, text)(own) == sent_on


@pytest.mark.parametrize(
    "text", ["{Device}", "{}", "{camera", "kind}", "{{kind}}", "a/+/b", "#", " a", "a ", "a\n", "a\0b", "x" * 65_536]
)
def test_template_that_makes_no_topic_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        require_template(text)


@pytest.mark.parametrize(
    ("text", "apart"), [(BAG, True), ("{camera}/{kind}", True), ("{kind}", False), ("{device}/{camera}", False)]
)
def test_template_tells_states_apart_by_camera_and_kind(text: str, *, apart: bool) -> None:
    assert tells_apart(text) == apart
