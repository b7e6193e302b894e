"""A camera: GStreamer's RTSP server. Run by the distribution's Python, which has its bindings; see `rtsp.py`.

Its one argument is JSON. A line on standard input changes it under way: `width=640,height=480` the size,
`framerate=30/1` the rate, `clock=-600` sets the clock of its time stamps back by seconds.
"""

from __future__ import annotations

import json
import sys

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp  # type: ignore[import-not-found]  # noqa: E402
from gi.repository import GstRtspServer as Rtsp  # noqa: E402

ENCODERS = {
    "h264": "x264enc tune=zerolatency {pace} ! identity name=clock ! rtph264pay config-interval={sps}",
    "h265": "x265enc tune=zerolatency {pace} ! identity name=clock ! rtph265pay config-interval={sps}",
    "jpeg": "video/x-raw,format=I420 ! jpegenc ! rtpjpegpay",
}
options = json.loads(sys.argv[1])
Gst.init(None)
server = Rtsp.RTSPServer.new()
server.set_address(options["host"])
server.set_service(str(options["port"]))
factory = Rtsp.RTSPMediaFactory()
factory.set_shared(options["shared"])
caps = {"size": options["size"], "rate": options["rate"]}
playing: list[Gst.Element] = []  # media of clients
encoder = ENCODERS[options["codec"]].format(
    pace=f"speed-preset=ultrafast key-int-max={options['keys']}", sps=-1 if options["sps"] else 0
)
video = (
    f"videotestsrc is-live=true ! capsfilter name=form caps=video/x-raw,{caps['size']},{caps['rate']} ! {encoder}"
    f" name=pay{{number}} pt={26 if options['codec'] == 'jpeg' else 96}"
)
audio = "audiotestsrc is-live=true ! mulawenc ! rtppcmupay name=pay0 pt=0 "
if options["audio_first"]:
    factory.set_launch(f"( {audio} {video.format(number=1)} )")
else:
    factory.set_launch(f"( {video.format(number=0)} )")
if options["protocols"]:
    factory.set_protocols(
        GstRtsp.RTSPLowerTrans(sum(int(getattr(GstRtsp.RTSPLowerTrans, one)) for one in options["protocols"]))
    )
if "UDP_MCAST" in options["protocols"]:
    pool = Rtsp.RTSPAddressPool.new()
    pool.add_range(options["groups"] + ".0", options["groups"] + ".10", 5000, 5010, 1)
    factory.set_address_pool(pool)
if options["password"] or options["certificate"]:
    role, auth, token = "viewer", Rtsp.RTSPAuth(), Rtsp.RTSPToken()
    token.set_string(Rtsp.RTSP_TOKEN_MEDIA_FACTORY_ROLE, role)
    if options["certificate"]:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(options["certificate"], options["key"]))
    if options["digest"]:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest("joe", options["password"], token)
    elif options["password"]:
        auth.add_basic(Rtsp.RTSPAuth.make_basic("joe", options["password"]), token)
    else:
        auth.set_default_token(token)
    server.set_auth(auth)
    permissions = Rtsp.RTSPPermissions()
    permissions.add_role(role)
    for name in ("access", "construct"):
        permissions.add_permission_for_role(role, "media.factory." + name, True)  # noqa: FBT003 - GStreamer's signature
    factory.set_permissions(permissions)


def reform(media: Gst.Element) -> None:
    """Have the source give the latest size and rate."""
    wanted = Gst.Caps.from_string(f"video/x-raw,{caps['size']},{caps['rate']}")
    media.get_by_name("form").set_property("caps", wanted)


def prepared(_: object, media: Rtsp.RTSPMedia) -> None:
    """A client has come."""
    playing.append(media.get_element())
    reform(playing[-1])


def on_line(*_: object) -> bool:
    """A change was written to us."""
    line = sys.stdin.readline().strip()
    name, _equals, value = line.partition("=")
    for media in playing if name == "clock" else []:
        media.get_by_name("clock").set_property("ts-offset", int(float(value) * Gst.SECOND))
    caps.update({"rate": line} if name == "framerate" else {"size": line} if name == "width" else {})
    for media in playing if name != "clock" else []:
        reform(media)
    return bool(line)


factory.connect("media-configure", prepared)
GLib.io_add_watch(0, GLib.IO_IN, on_line)
server.get_mount_points().add_factory("/cam", factory)
if not server.attach(None):
    sys.exit("port taken")
sys.stdout.write("ready\n")
sys.stdout.flush()
GLib.MainLoop().run()
