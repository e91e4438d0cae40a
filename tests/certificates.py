"""Authorities, certificates and keys for the tests, made without the openssl program."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed")
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

LOCAL = ("127.0.0.1", "localhost")


def certify(folder: Path, name: str, hosts: tuple[str, ...] = LOCAL, by: str = "") -> None:
    """Write NAME.crt and NAME.key, of two days.

    Args:
        folder: where to, and where the authority's files are.
        name: the common name, too.
        hosts: names and addresses that it is for; an authority where there are none.
        by: the authority that signs, itself where it is empty.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signer = key
    if by:
        issuer = x509.load_pem_x509_certificate((folder / f"{by}.crt").read_bytes()).subject
        loaded = load_pem_private_key((folder / f"{by}.key").read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    now, span = dt.datetime.now(dt.timezone.utc), dt.timedelta(days=1)
    made = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), now - span, now + span
    ).add_extension(x509.BasicConstraints(ca=not by, path_length=None), critical=True)
    if hosts:
        made = made.add_extension(x509.SubjectAlternativeName([_host(h) for h in hosts]), False)
    public = made.sign(signer, SHA256()).public_bytes(Encoding.PEM)
    (folder / f"{name}.crt").write_bytes(public)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key").write_bytes(private)


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
