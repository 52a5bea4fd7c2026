"""Content credentials (C2PA) beside a score: signed for the test, whole, changed, broken, and without the library."""

import datetime
import json
import shutil
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from faces.content_credentials import NAME, describe_manifests, manifest_facts

c2pa = pytest.importorskip("c2pa")
BEGIN, END = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), datetime.datetime(2044, 1, 1, tzinfo=datetime.UTC)
HOLDS = "signed by Test Signer (Camera Works); signature and hashes hold, the signer was not checked"


def certificate(name, key, issuer, issuer_key, is_root):
    """A certificate of the profile that C2PA asks for."""
    usage = x509.KeyUsage(
        digital_signature=not is_root, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=is_root, crl_sign=is_root, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(END)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not is_root:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True)
    return made.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def signer():
    """A signer whose root nobody knows."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, who), x509.NameAttribute(NameOID.COMMON_NAME, name)])
        for who, name in (("Test CA", "Test Root"), ("Camera Works", "Test Signer"))
    ]
    root = certificate(names[0], keys[0], names[0], keys[0], True)
    chain = certificate(names[1], keys[1], names[0], keys[0], False) + root
    key = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(alg=b"es256", sign_cert=chain, private_key=key, ta_url=None))


@pytest.fixture(scope="module")
def signed(signer, clip, film, tmp_path_factory):
    """A clip and a picture with content credentials."""
    folder = tmp_path_factory.mktemp("signed")
    of = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    action = {"label": "c2pa.actions", "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": of}]}}
    content = {"claim_generator_info": [{"name": "tests", "version": "1"}], "title": "clip", "assertions": [action]}
    for source, name, kind in ((film, "clip.mp4", "video/mp4"), (clip("multi_face.jpg"), "p.jpg", "image/jpeg")):
        with source.open("rb") as plain, (folder / name).open("w+b") as target:
            c2pa.Builder(json.dumps(content)).sign(signer, kind, plain, target)
    return folder


@pytest.mark.parametrize("name", ["clip.mp4", "p.jpg"])
def test_who_signed_it_and_that_it_holds(signed, name):
    assert manifest_facts(signed / name) == [(NAME, HOLDS)]


@pytest.mark.parametrize("name", ["clip.mp4", "p.jpg"])
def test_a_changed_byte_is_noticed(signed, tmp_path, name):
    content = bytearray((signed / name).read_bytes())
    content[-200] ^= 255
    (tmp_path / name).write_bytes(content)
    ((_, said),) = manifest_facts(tmp_path / name)
    assert said.startswith("they do NOT hold (assertion.")
    assert said.endswith("they name Test Signer (Camera Works) as signer")


def test_a_broken_manifest_and_an_absent_library_are_a_line(signed, tmp_path, monkeypatch):
    content = bytearray((signed / "clip.mp4").read_bytes())
    content[200:400] = bytes(200)
    (tmp_path / "broken.mp4").write_bytes(content)
    ((_, said),) = manifest_facts(tmp_path / "broken.mp4")
    assert said.startswith("there are some, but they cannot be read: ")
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert manifest_facts(signed / "clip.mp4") == [(NAME, "there are some; to read them: pip install c2pa-python")]


def test_files_without_are_not_asked(film, clip, tmp_path):
    for path in (film, clip("multi_face.jpg"), clip("face_noface.mov")):
        assert manifest_facts(path) == []
    (tmp_path / "x.mkv").write_bytes(b"\x1a\x45\xdf\xa3 jumb c2pa")
    assert manifest_facts(tmp_path / "x.mkv") == []


def test_the_evidence_tells_of_it_and_the_score_does_not(run, signed, film, weights, tmp_path):
    shutil.copy(film, tmp_path / "plain.mp4")
    run("-m", "inference.predict", signed / "clip.mp4", signed / "p.jpg", tmp_path / "plain.mp4",
        "--evidence", tmp_path / "e", "--output", tmp_path / "s.csv")  # fmt: skip
    for name in ("clip.mp4", "p.jpg"):
        assert json.loads((tmp_path / f"e/{name}.json").read_text())["file"][NAME] == HOLDS
        assert HOLDS in (tmp_path / f"e/{name}.html").read_text()
    labels = {row["filename"]: row["label"] for row in map(json.loads, (tmp_path / "s.jsonl").open())}
    assert labels["clip.mp4"] == labels["plain.mp4"]


def test_words_of_other_stores():
    store = {"active_manifest": "a", "manifests": {"a": {"signature_info": {"issuer": "X", "time": "2026-01-01"}}}}
    assert describe_manifests(store | {"validation_state": "Trusted"}).startswith(
        "signed by nobody named (X), 2026-01-01; "
    )
    assert describe_manifests(store | {"validation_state": "Invalid"}).startswith("they do NOT hold (invalid)")
    with pytest.raises(KeyError):
        describe_manifests({"manifests": {}})
