"""Certificates, and the two sides of TLS, by Python's own ssl: sections 3 and 8."""

import datetime
import hashlib
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DECADE = datetime.timedelta(days=3_650)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files in PEM."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """As `openssl x509 -fingerprint -sha256` shows it."""
        der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
        return colons(hashlib.sha256(der).hexdigest())

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def colons(digits: str) -> str:
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2)).upper()


def self_signed(folder: Path, name: str = "gateway", *, host: str = "127.0.0.1", days: int = 365) -> Certificate:
    """Makes a self-signed certificate for an address; negative days make one that has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} of a test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    end = now + datetime.timedelta(days=days)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DECADE if days < 0 else now - datetime.timedelta(days=1))
        .not_valid_after(end)
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )
    files = Certificate(folder / f"{name}.crt", folder / f"{name}.pem")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    files.key.chmod(0o600)
    return files


def trusting_nobody() -> ssl.SSLContext:
    """A client's side that takes any certificate; whoever uses it compares the fingerprint."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def trusting(ca: Path) -> ssl.SSLContext:
    """A client's side that takes what this CA stands for, and checks the host."""
    return ssl.create_default_context(cafile=str(ca))


def fingerprint_of(transport: ssl.SSLObject) -> str:
    """The fingerprint of the certificate that the other side showed."""
    return colons(hashlib.sha256(transport.getpeercert(binary_form=True)).hexdigest())
