"""Hints for unknown keys in edged.toml."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_FORMAT = 'did you mean "pixel_format"? It is "mjpeg", "yuyv", "nv12" ..., of a video device'
_SIZE = 'did you mean "size"? It is width x height of a video device, as "1280x720"'
_TRANSPORT = 'did you mean "transport"? It is "auto", "tcp", "udp" or "multicast"'
_SENTENCES: dict[tuple[str, str], str] = {  # keys that other programs have and edged has not
    **{("camera", key): _TRANSPORT for key in ("rtsp_transport", "protocol", "tcp", "udp")},
    **{("camera", key): _FORMAT for key in ("fourcc", "format", "pixelformat", "pix_fmt", "input_format", "codec")},
    **{("camera", key): _SIZE for key in ("width", "height", "resolution", "video_size", "frame_size")},
    **{
        ("camera", key): 'did you mean "fps", the most that are taken, or "rate", what a video device is asked for?'
        for key in ("framerate", "frame_rate")
    },
    **{("camera", key): 'did you mean "enabled"?' for key in ("disabled", "active")},
    ("mqtt", "qos"): "it stands in [publish]",
    ("model", "size"): "the bundle says it; provision another with [provision] size",
    ("model", "precision"): "it stands in [engine]",
    ("model", "device"): "it stands in [engine]",
}
_OTHER_NAMES: dict[str, str] = {  # the first of them that the section has
    **dict.fromkeys(("url", "uri", "path", "input", "address", "stream", "file", "device"), "source host bundle"),
    **dict.fromkeys(("user", "login", "usr"), "username"),
    **dict.fromkeys(("pass", "pwd", "passwd", "secret"), "password"),
    **dict.fromkeys(("passfile", "secret_file"), "password_file"),
    **dict.fromkeys(("broker", "server", "hostname", "ip"), "host"),
    **dict.fromkeys(("topic", "base_topic", "topic_prefix", "root"), "prefix"),
    **dict.fromkeys(("ssl", "secure"), "tls"),
    **dict.fromkeys(("ca", "cafile", "ca_cert", "ca_certs"), "ca_file"),
    **dict.fromkeys(("cert", "certfile", "client_cert"), "cert_file"),
    **dict.fromkeys(("key", "keyfile", "client_key"), "key_file"),
    **dict.fromkeys(("clientid", "client"), "client_id"),
    **dict.fromkeys(("framerate", "frame_rate", "max_fps", "fps_limit"), "fps"),
    **dict.fromkeys(("timeout", "timeout_s"), "read_timeout_s keepalive_s"),
    **dict.fromkeys(("hwaccel", "hardware", "hw"), "acceleration"),
    **dict.fromkeys(("rotation", "orientation", "angle"), "rotate"),
    **dict.fromkeys(("weights", "model", "engine"), "bundle"),
    **dict.fromkeys(("threshold", "conf", "score", "min_score", "conf_threshold"), "confidence"),
    **dict.fromkeys(("nms", "iou_threshold", "nms_threshold", "overlap"), "iou"),
    **dict.fromkeys(("labels", "names", "objects"), "classes"),
    **dict.fromkeys(("max_det", "limit"), "max_detections"),
    **dict.fromkeys(("id", "label", "camera"), "name"),
    **dict.fromkeys(("friendly_name", "display_name"), "title"),
    **dict.fromkeys(("tls_verify", "verify_ssl", "insecure"), "verify insecure"),
    **dict.fromkeys(("keyframes", "skip_frame"), "decode"),
}
_LIKE = 0.66  # difflib's ratio: "fsp" for "fps" is a typing error, a smaller one is another word


def hint(section: str, key: str, allowed: Sequence[str]) -> str:
    """A hint for the unknown `key` in `[section]`.

    Args:
        section: its name; empty for the whole file.
        key: the unknown one.
        allowed: all keys there.
    """
    written = key.lower().replace("-", "_")
    if sentence := _SENTENCES.get((section, written)):
        return sentence
    meant = next((name for name in _OTHER_NAMES.get(written, "").split() if name in allowed), "")
    nearest = [meant] if meant else difflib.get_close_matches(written, allowed, n=1, cutoff=_LIKE)
    if not nearest:
        return f"allowed here: {', '.join(allowed)}"
    return "did you mean [[camera]]?" if (section, nearest[0]) == ("", "camera") else f'did you mean "{nearest[0]}"?'
