"""Certificates for tests, made by the `openssl` command: an authority, and what it vouches for."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

# A test takes minutes; nobody should find a use for its certificates later.
_DAYS = "2"

_KEY = ("-newkey", "rsa:2048", "-nodes")


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files."""

    ca: Path
    cert: Path
    key: Path

    @property
    def both(self) -> Path:
        """Key and certificate in one file."""
        return self.cert.with_suffix(".both.pem")


class Authority:
    """Signs certificates; its files are in `directory`, which it creates."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True)
        subject = ("-subj", f"/CN=test authority {directory.name}")
        self._openssl("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", _DAYS, *subject)

    def certificate(self, name: str, *, alternatives: str = "DNS:localhost,IP:127.0.0.1") -> Certificate:
        """For `alternatives`, as openssl writes subjectAltName."""
        self._openssl("req", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (self._directory / f"{name}.ext").write_text(f"subjectAltName={alternatives}\n")
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", _DAYS, "-extfile", f"{name}.ext", "-out", f"{name}.pem"),
        )
        path = self._directory / name
        certificate = Certificate(
            self._directory / "ca.pem", path.with_suffix(".pem"), path.with_suffix(".key")
        )
        certificate.both.write_text(certificate.key.read_text() + certificate.cert.read_text())
        return certificate

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._directory, check=True, capture_output=True)
