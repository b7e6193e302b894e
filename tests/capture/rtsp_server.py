"""A camera: GStreamer's RTSP server. Run by the distribution's Python, which has its bindings; see `rtsp.py`.

Its one argument is JSON. A line on standard input, as `width=640,height=480`, changes the size under way.
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
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max={keys} ! rtph264pay config-interval={sps}",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max={keys} ! rtph265pay config-interval={sps}",
    "jpeg": "video/x-raw,format=I420 ! jpegenc ! rtpjpegpay",
}
options = json.loads(sys.argv[1])
Gst.init(None)
server = Rtsp.RTSPServer.new()
server.set_address(options["host"])
server.set_service(str(options["port"]))
factory = Rtsp.RTSPMediaFactory()
factory.set_shared(options["shared"])
sizes = [options["size"]]
playing: list[Gst.Element] = []
encoder = ENCODERS[options["codec"]].format(keys=options["keys"], sps=-1 if options["sps"] else 0)
video = (
    f"videotestsrc is-live=true ! capsfilter name=size caps=video/x-raw,{sizes[0]},framerate=15/1 ! {encoder}"
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


def resize(element: Gst.Element) -> None:
    """Have the source give the latest size."""
    element.set_property("caps", Gst.Caps.from_string("video/x-raw," + sizes[-1] + ",framerate=15/1"))


def prepared(_: object, media: Rtsp.RTSPMedia) -> None:
    """A client has come."""
    playing.append(media.get_element().get_by_name("size"))
    resize(playing[-1])


def on_line(*_: object) -> bool:
    """A size was written to us."""
    sizes.append(sys.stdin.readline().strip())
    for element in playing:
        resize(element)
    return bool(sizes[-1])


factory.connect("media-configure", prepared)
GLib.io_add_watch(0, GLib.IO_IN, on_line)
server.get_mount_points().add_factory("/cam", factory)
if not server.attach(None):
    sys.exit("port taken")
sys.stdout.write("ready\n")
sys.stdout.flush()
GLib.MainLoop().run()
