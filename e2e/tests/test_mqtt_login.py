"""Who may talk to the broker: passwords from wherever, TLS with own certificates, both versions; and secrets stay secret."""

import asyncio
import datetime
import ipaddress
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.broker import retained
from harness.files import KEY_TEXT
from harness.hub import all_there, topic
from harness.hub import broker, know, listen, listener, start_broker, start_hub  # noqa: F401
from harness.program import eventually
from reference import profiles

PASSWORD, WRONG = "p@ss:w/rd geheim", "wrong-and-geheim"
URL_PASSWORD = "p%40ss%3Aw%2Frd%20geheim"
VARIABLE = "HEARTHGATE_MQTT_PASSWORD"
SOCKET = "0a11socket02"


@pytest.fixture
def guarded(start_broker, tmp_path):
    """A broker that takes nobody without a password."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    for user in ("hub", "watcher"):
        subprocess.run(["mosquitto_passwd", "-b", passwords, user, PASSWORD], check=True, capture_output=True)
    return start_broker(f"password_file {passwords}", anonymous=False)


@pytest.fixture
def watcher(listen, guarded):
    return listen(guarded, login=("watcher", PASSWORD))


def nowhere(secret, *processes, listener):
    for process in processes:
        assert secret not in process.log_text and secret not in "\n".join(process.output)
    assert not [m.topic for m in listener.messages if secret.encode() in m.payload or secret in m.topic]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("source", ["file", "environment", "url", "configuration"])
async def test_a_password_from_wherever_it_is(guarded, watcher, start_gateway, know, start_hub, tmp_path, source, version):
    know(start_gateway())
    secret = tmp_path / "mqtt.password"
    secret.write_text(PASSWORD + "\n")
    more = ("--mqtt-version", version, "--log-level", "trace")
    if source == "file":
        hub = start_hub(guarded.with_login("hub"), "--mqtt-password-file", secret, *more)
    elif source == "environment":
        hub = start_hub(guarded.with_login("hub"), *more, **{VARIABLE: PASSWORD})
    elif source == "url":
        hub = start_hub(None, *more, HEARTHGATE_MQTT=guarded.with_login(f"hub:{URL_PASSWORD}"))
    else:
        config = tmp_path / "hub.toml"
        config.write_text(f'[mqtt]\nurl = "{guarded.with_login("hub")}"\npassword_file = "mqtt.password"\nversion = "{version}"\n')
        hub = start_hub(None, "--config", config, "--log-level", "trace")
    await all_there(watcher, profiles.home())
    assert (await watcher.set(topic(SOCKET, "set").removesuffix("/set"), {"switch_1": True}))["success"] is True
    hub.stop()
    for text in (PASSWORD, URL_PASSWORD, KEY_TEXT):
        nowhere(text, hub, listener=watcher)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_wrong_password_is_a_clear_word_and_no_end(guarded, watcher, start_gateway, know, start_hub, version):
    know(start_gateway())
    hub = start_hub(guarded.with_login("hub"), "--mqtt-version", version, **{VARIABLE: WRONG})
    (line,) = await eventually(lambda: hub.log_lines("refuses us"), "a word in the log", 30)
    assert "user name" in line and "password" in line and guarded.url in line, line
    nowhere(WRONG, hub, listener=watcher)
    assert hub.process.poll() is None
    bare = start_hub(guarded, "--state", "none", "--mqtt-version", version)
    await eventually(lambda: bare.log_lines("refuses us"), "without a login too", 30)


async def test_a_password_that_became_right_is_taken(start_broker, listen, start_gateway, know, start_hub, tmp_path):
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    set_password = lambda text: subprocess.run(["mosquitto_passwd", "-b", passwords, "hub", text], check=True, capture_output=True)  # noqa: E731
    set_password("another")
    broker = start_broker(f"password_file {passwords}", anonymous=False)
    know(start_gateway())
    hub = start_hub(broker.with_login("hub"), **{VARIABLE: PASSWORD})
    await eventually(lambda: hub.log_lines("refuses us"), "a refusal", 30)
    broker.stop()
    set_password(PASSWORD)
    broker.start()
    await all_there(listen(broker, login=("hub", PASSWORD)), profiles.home())


class Authority:
    """An authority of its own, and what it signs."""

    def __init__(self, folder, name="authority"):
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key, ca=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, key, *, ca=False, client=False):
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )  # fmt: skip
        if not ca:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name, *, client=False):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, client=client)
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key.pem"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
        paths[1].chmod(0o600)
        return paths


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_tls_with_an_own_authority_and_a_client_certificate(start_broker, listen, start_gateway, know, start_hub, tmp_path, version):
    authority = Authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("client", client=True)
    lines = (f"cafile {authority.path}", f"certfile {server[0]}", f"keyfile {server[1]}", "require_certificate true")
    broker = start_broker(*lines, secure=True)
    tls = ssl.create_default_context(cafile=str(authority.path))
    tls.load_cert_chain(*map(str, client))
    know(start_gateway())
    ours = ("--mqtt-ca-file", authority.path, "--mqtt-cert-file", client[0], "--mqtt-cert-key-file", client[1], "--mqtt-version", version)
    start_hub(broker, *ours)
    listener = listen(broker, tls=tls)
    await all_there(listener, profiles.home())
    since = len(listener.messages)
    listener.now.clear()
    broker.kill()
    broker.start()
    await all_there(listener, profiles.home(), since)
    assert (await listener.set(topic(SOCKET, "set").removesuffix("/set"), {"switch_1": True}))["success"] is True
    # A name instead of an address; and whoever comes without a certificate, or trusts somebody else, is told so.
    named = broker.url.replace("127.0.0.1", "localhost")
    good = start_hub(named, *ours, "--state", "none", "--topic-root", "named", "--discovery-prefix", "named-ha")
    await eventually(lambda: listener.text("named/bridge/state") == "online", "by its name", 30)
    assert not good.log_lines("no TLS")
    bare = start_hub(broker, "--mqtt-ca-file", authority.path, "--state", "none", "--topic-root", "bare", "--mqtt-version", version)
    await eventually(lambda: bare.log_lines(r"WARN.*broker"), "no certificate, no connection", 30)
    stranger = Authority(tmp_path, "stranger")
    other = start_hub(broker, "--mqtt-ca-file", stranger.path, "--state", "none", "--topic-root", "other", "--mqtt-version", version)
    (line, *_) = await eventually(lambda: other.log_lines(r"no TLS with the broker"), "another authority is named", 30)
    assert "certificate" in line.lower() or "issuer" in line.lower(), line
    await listener.fence()
    assert listener.text("bare/bridge/state") is None and listener.text("other/bridge/state") is None


async def test_a_key_is_in_no_topic(broker, listener, start_gateway, know, start_hub):
    gateway = start_gateway()
    know(gateway)
    hub = start_hub(broker, "--log-level", "trace")
    await all_there(listener, profiles.home())
    for what in ("devices", "announce"):
        assert (await listener.request(what))["success"] is True
    kept = await retained(broker)
    for secret in (KEY_TEXT, gateway.key.hex()):
        assert not [name for name, payload in kept.items() if secret.encode() in payload]
        nowhere(secret, hub, listener=listener)
    await asyncio.to_thread(hub.stop)
    nowhere(KEY_TEXT, hub, listener=listener)
