"""The alert rules at their own durations, in Prometheus' own test: each fires when it should, and not sooner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

RULES = Path(__file__).parents[2] / "etc" / "prometheus" / "alerts.yml"
BOX = 'instance="box",job="edged"'
GATE = f'{BOX},camera="gate"'
UP = f"edged_camera_up{{{GATE}}}"
CAPTURED = f"edged_frames_captured_total{{{GATE}}}"
PROCESSED = f"edged_frames_processed_total{{{GATE}}}"
SUPERSEDED = f'edged_frames_dropped_total{{{GATE},cause="superseded"}}'

# By alert: series a minute apart, the last minute at which it is silent, and the first at which it fires; None: never.
CASES: list[tuple[str, dict[str, str], int, int | None]] = [
    ("EdgedPageDown", {f"up{{{BOX}}}": "1x9 0x20"}, 14, 15),
    ("EdgedPageDown", {f"up{{{BOX}}}": "1x9 0x3 1x20"}, 30, None),
    ("EdgedPageDown", {'up{instance="box",job="another"}': "0x30"}, 30, None),
    ("EdgedNotRunning", {f"edged_feed_connected{{{BOX}}}": "1x9 0x20"}, 11, 12),
    ("EdgedNotRunning", {f"edged_feed_connected{{{BOX}}}": "1x9 0 1x20"}, 30, None),
    ("EdgedCameraDown", {UP: "1x19 0x20"}, 25, 27),
    ("EdgedCameraDown", {UP: "1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0"}, 1, 12),
    ("EdgedCameraDown", {UP: "1x19 0x3 1x20"}, 40, None),
    ("EdgedCameraDown", {UP: "1x19 0x20", f'edged_camera_state{{{GATE},state="ended"}}': "0x19 1x20"}, 40, None),
    ("EdgedCameraFrozen", {f'edged_camera_state{{{GATE},state="frozen"}}': "0x9 1x30"}, 24, 25),
    ("EdgedFramesGiveWay", {CAPTURED: "0+600x60", SUPERSEDED: "0+360x60"}, 15, 16),
    ("EdgedFramesGiveWay", {CAPTURED: "0+600x60", SUPERSEDED: "0+240x60"}, 60, None),
    ("EdgedLooksAtNothing", {UP: "1x60", PROCESSED: "0+600x19 11400x30"}, 28, 30),
    ("EdgedLooksAtNothing", {UP: "1x19 0x30", PROCESSED: "0+600x19 11400x30"}, 49, None),
    ("EdgedBrokerLost", {f"edged_broker_connected{{{BOX}}}": "1x9 0x20"}, 14, 15),
    ("EdgedMessagesWait", {f"edged_outbox_oldest_seconds{{{BOX}}}": "0x9 0+60x20"}, 16, 17),
    ("EdgedMessagesLost", {f'edged_messages_dropped_total{{{BOX},cause="overflow"}}': "0x9 1x20"}, 9, 11),
    ("EdgedMessagesLost", {f'edged_messages_dropped_total{{{BOX},cause="offline"}}': "0+5x30"}, 30, None),
    ("EdgedSnapshotsLost", {f'edged_snapshots_lost_total{{{BOX},cause="disk"}}': "0x9 1x20"}, 9, 11),
]


def _test_of(alert: str, series: dict[str, str], silent: int, fires: int | None) -> dict[str, Any]:
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    moments = [(silent, []), *([(fires, [{"labels": "{}", "value": 1}])] if fires is not None else [])]
    return {
        "name": f"{alert} {series}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": firing, "eval_time": f"{minute}m", "exp_samples": samples} for minute, samples in moments
        ],
    }


def test_every_alert_fires_after_its_time_and_not_before(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("prometheus is not installed (apt-get install prometheus)")
    shutil.copy(RULES, tmp_path)
    cases = {"rule_files": [RULES.name], "evaluation_interval": "1m", "tests": [_test_of(*case) for case in CASES]}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(cases, sort_keys=False))
    done = subprocess.run(
        ["promtool", "test", "rules", "tests.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    assert {rule["alert"] for rule in rules} == {alert for alert, *_ in CASES}
