"""One registry for all tests here, with TLS and a password, and a store to push from."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.core.bundle import Bundle
from provisioning.store import Store
from tests.brokers import make_certificates
from tests.handmade import write_bundle
from tests.provisioning.registry.boxes import Box, free_port, serving

HASHED = "$2b$04$raiqqHqjY1N.CXZ0RNarO.XEPqquLUOTRDtFBeas9BfdmxmEtFJm."  # of the password below
PASSWORD = "correct horse"
CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "localhost:{port}", tls: {{certificate: {tls}/server.pem, key: {tls}/server.key}}}}
auth: {{htpasswd: {{realm: boxes, path: {passwords}}}}}
"""


@pytest.fixture(scope="package")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    folder = tmp_path_factory.mktemp("registry")
    tls = make_certificates(folder / "tls").folder
    for name in ("bundles", "other"):
        make = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key"]
        subprocess.run(make, cwd=folder, check=True, capture_output=True)
        out = ["openssl", "ec", "-in", f"{name}.key", "-pubout", "-out", f"{name}.pub"]
        subprocess.run(out, cwd=folder, check=True, capture_output=True)
        (folder / f"{name}.key").chmod(0o600)
    port = free_port()
    (folder / "passwords").write_text(f"boxes:{HASHED}\n")
    config = CONFIG.format(root=folder / "data", port=port, tls=tls, passwords=folder / "passwords")
    (folder / "config.yml").write_text(config)
    secret = base64.b64encode(f"boxes:{PASSWORD}".encode()).decode()
    (folder / "auth.json").write_text(json.dumps({"auths": {f"localhost:{port}": {"auth": secret}}}))
    (folder / "auth.json").chmod(0o600)
    access = ["--ca-file", str(tls / "ca.pem"), "--credentials", str(folder / "auth.json")]
    with serving(folder / "config.yml", port):
        yield Box(f"localhost:{port}", folder / "data", folder, access)


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pusher")
    bundle = Bundle.open(write_bundle(root / "bundle", input_wh=(64, 64)))
    Store(root / "models").add(bundle.manifest, {name: bundle.read(name) for name in bundle.manifest.files})
    return root / "models"
