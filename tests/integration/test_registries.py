"""The registries that other tests stand on."""

from __future__ import annotations

import hashlib
import json
import subprocess
import urllib.error
import urllib.request

import pytest

from gotools import tool
from registries import crane_registry, distribution_registry

pytestmark = pytest.mark.integration

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def _request(server, path, data=None, method=None, **headers):
    url = path if path.startswith("http") else f"{server.url}/v2/{path}"
    headers = {"Accept": MANIFEST, **headers}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=5)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers, answer.read()


def _push(server, tmp_path, config=None):
    layer = tmp_path / "layer.tar"
    subprocess.run(["tar", "-cf", layer, "-T", "/dev/null"], check=True)
    environment = {"DOCKER_CONFIG": str(config or tmp_path), "HOME": str(tmp_path)}
    argv = [tool("crane"), "append", "--oci-empty-base", "-f", layer]
    argv += ["-t", f"{server.host}/apps/one:b"]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)


def _attach(server, name, artifact_type):
    _, headers, body = _request(server, "apps/one/manifests/b")
    subject = {"mediaType": MANIFEST, "digest": headers["Docker-Content-Digest"], "size": len(body)}
    manifest = json.loads(body) | {"subject": subject, "annotations": {"name": name}}
    data = json.dumps(manifest | {"artifactType": artifact_type}).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    where = f"apps/one/manifests/{digest}"
    status, headers, _ = _request(server, where, data, "PUT", **{"Content-Type": MANIFEST})
    assert status == 201
    return subject["digest"], digest, headers["OCI-Subject"]


def test_distribution_keeps_an_image_and_has_no_referrers(tmp_path):
    with distribution_registry() as server:
        assert _push(server, tmp_path).returncode == 0
        subject, digest, marked = _attach(server, "one", "text/plain")
        assert marked is None
        assert _request(server, f"apps/one/manifests/{digest}")[0] == 200
        assert _request(server, f"apps/one/referrers/{subject}")[0] == 404
    assert not server.storage.exists()
    with pytest.raises(OSError, match=r"refused"):
        urllib.request.urlopen(server.url, timeout=1)


def test_distribution_asks_for_a_login(tmp_path):
    with distribution_registry(auth=True) as server:
        assert _request(server, "")[0] == 401
        assert "401 Unauthorized" in _push(server, tmp_path).stderr
        login = server.docker_config(tmp_path / "docker")
        assert _push(server, tmp_path, login).returncode == 0
        wrong = server.docker_config(tmp_path / "wrong", password="guess")
        assert _push(server, tmp_path, wrong).returncode != 0


def test_crane_registry_lists_referrers_by_type_and_page(tmp_path):
    with crane_registry(page_size=2) as server:
        assert _push(server, tmp_path).returncode == 0
        attached = [_attach(server, str(n), "text/plain") for n in range(3)]
        subject, other, marked = _attach(server, "other", "text/html")
        assert marked == subject
        listing = f"apps/one/referrers/{subject}"

        _, headers, body = _request(server, f"{listing}?artifactType=text/html")
        assert [d["digest"] for d in json.loads(body)["manifests"]] == [other]
        assert headers["OCI-Filters-Applied"] == "artifactType"

        found, address = [], listing
        while address:
            _, headers, body = _request(server, address)
            found += json.loads(body)["manifests"]
            following = headers["Link"]
            address = following and server.url + following.partition(">")[0].removeprefix("<")
        assert {d["digest"] for d in found} == {other, *(digest for _, digest, _ in attached)}
        assert {d["annotations"]["name"] for d in found} == {"0", "1", "2", "other"}

        assert _request(server, f"apps/one/manifests/{other}", method="DELETE")[0] == 202
        assert other not in _request(server, listing)[2].decode()
