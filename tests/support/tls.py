"""A server's certificate that nobody vouches for."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest


def self_signed(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """Return a server's context with a certificate of its own, and that certificate; skip without openssl.

    Args:
        folder: where the certificate and its key are written.
        name: the certificate's subjectAltName, such as `DNS:localhost`.
    """
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    named = ("-subj", f"/CN={name.partition(':')[2]}", "-addext", f"subjectAltName={name}")
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", *new, *named, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate
