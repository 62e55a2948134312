//! TLS on a connection to a gateway: the handshake, and the check of its certificate.
//!
//! Input is an open TCP connection and what is trusted; output is a [`Stream`] for `link`, or why there is
//! none, with the fingerprint that was seen.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hearthgate_protocol::crypto::Fingerprint;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::trust::Trust;

/// The time in which a server that speaks TLS shows it, and then its certificate.
const PROBE: Duration = Duration::from_secs(2);

/// Why there is no TLS with a gateway, or none that is trusted. Complete by itself: the likely cause and
/// the next step are part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// Nothing was said about its certificate.
    #[error(
        "nothing says that its certificate is its own. The fingerprint that was seen: {seen}. Compare it \
         with the one that the gateway prints at its start, and if they are equal accept it: \
         --tls-fingerprint {seen} (`fingerprint` in gateways.toml), or give its CA with --tls-ca FILE"
    )]
    Untrusted {
        /// The fingerprint that was seen.
        seen: Fingerprint,
    },
    /// It has another certificate than the pinned one.
    #[error(
        "its certificate has another fingerprint than the pinned one: seen {seen}, pinned {pinned}. \
         Either the gateway got a new certificate (it prints the fingerprint at its start; pin that one \
         then: --tls-fingerprint, `fingerprint` in gateways.toml), or something else answers there"
    )]
    WrongFingerprint {
        /// The fingerprint that was seen.
        seen: Fingerprint,
        /// The one that is pinned.
        pinned: Fingerprint,
    },
    /// The CA does not stand for the certificate.
    #[error(
        "its certificate does not pass the check by the CA: {problem} (fingerprint {seen}); give it a \
         new certificate or the right CA with --tls-ca, or pin the fingerprint with --tls-fingerprint, \
         which looks at neither name nor dates"
    )]
    NotByCa {
        /// What is wrong.
        problem: String,
        /// The fingerprint that was seen.
        seen: Fingerprint,
    },
    /// The file of the CA is of no use.
    #[error("the CA file {}: {problem}; it holds certificates in PEM", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// What answers is no TLS.
    #[error("it does not speak TLS; if it is the gateway, write ws:// instead of wss://")]
    NotTls,
    /// It closed the connection in the handshake.
    #[error(
        "it hung up in the TLS handshake; most likely it does not speak TLS (write ws:// instead of \
         wss://), or it takes no more connections"
    )]
    HungUp,
    /// It refused, or both have nothing in common.
    #[error("there is no TLS with it: {0}; TLS 1.2 and 1.3 are spoken here")]
    Refused(String),
    /// The older dialect without TLS.
    #[error("the dialect 2023 is spoken over TLS only: write wss:// instead of ws://")]
    Missing,
}

impl TlsFault {
    /// Returns the fingerprint of the certificate, if it came so far.
    pub fn seen(&self) -> Option<Fingerprint> {
        match self {
            Self::Untrusted { seen }
            | Self::WrongFingerprint { seen, .. }
            | Self::NotByCa { seen, .. } => Some(*seen),
            _ => None,
        }
    }
}

/// A byte stream to a gateway.
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With it.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Does the TLS handshake; `host` is what a CA has to stand for. Has no deadline of its own.
///
/// # Errors
/// Where there is no TLS, or the certificate is not trusted. Nothing was sent then but the handshake.
pub async fn secure(stream: TcpStream, host: &str, trust: &Trust) -> Result<Stream, TlsFault> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier {
        rule: Rule::of(trust, &provider)?,
        seen: OnceLock::new(),
        provider: Arc::clone(&provider),
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsFault::Refused(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    // Only a CA looks at the name; what is no name for it is none for anybody.
    let name = ServerName::try_from(host.to_owned())
        .or_else(|_| ServerName::try_from("gateway.invalid"))
        .map_err(|error| TlsFault::Refused(error.to_string()))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
    match connected.await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
        Err(error) => Err(verifier.fault(&error)),
    }
}

/// What the certificate is held against.
enum Rule {
    Nothing,
    Pinned(Fingerprint),
    Ca(Arc<WebPkiServerVerifier>),
}

impl Rule {
    fn of(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Self, TlsFault> {
        match trust {
            Trust::Nothing => Ok(Self::Nothing),
            Trust::Pinned(fingerprint) => Ok(Self::Pinned(*fingerprint)),
            Trust::Ca(path) => {
                let roots = roots(path).map_err(|problem| TlsFault::CaFile {
                    path: path.clone(),
                    problem,
                })?;
                let verifier = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::clone(provider),
                );
                let verifier = verifier.build();
                verifier.map(Self::Ca).map_err(|error| TlsFault::CaFile {
                    path: path.clone(),
                    problem: error.to_string(),
                })
            }
        }
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let pem = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("is no PEM: {error}"))?;
        let added = roots.add(certificate);
        added.map_err(|error| format!("holds a certificate of no use: {error}"))?;
    }
    if roots.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    Ok(roots)
}

/// Checks the certificate, and remembers its fingerprint.
struct Verifier {
    rule: Rule,
    seen: OnceLock<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// Returns why the handshake failed.
    fn fault(&self, error: &io::Error) -> TlsFault {
        let cause = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        match (cause, &self.rule, self.seen.get().copied()) {
            (Some(Error::InvalidCertificate(_)), Rule::Nothing, Some(seen)) => {
                TlsFault::Untrusted { seen }
            }
            (Some(Error::InvalidCertificate(_)), Rule::Pinned(pinned), Some(seen))
                if seen != *pinned =>
            {
                let pinned = *pinned;
                TlsFault::WrongFingerprint { seen, pinned }
            }
            (Some(Error::InvalidCertificate(cause)), Rule::Ca(_), Some(seen)) => {
                let problem = by_ca(cause);
                TlsFault::NotByCa { problem, seen }
            }
            (Some(Error::InvalidMessage(_)), _, None) => TlsFault::NotTls,
            (Some(cause), ..) => TlsFault::Refused(cause.to_string()),
            (None, ..) => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => TlsFault::HungUp,
                _ => TlsFault::Refused(error.to_string()),
            },
        }
    }
}

/// Says what a CA has against a certificate.
fn by_ca(cause: &CertificateError) -> String {
    match cause {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired (or this machine's clock is wrong)".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet (or this machine's clock is wrong)".to_owned()
        }
        // The latter where both CAs have one name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "another CA made it".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another host".to_owned()
        }
        other => other.to_string(),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = *self.seen.get_or_init(|| Fingerprint::of(end_entity));
        match &self.rule {
            Rule::Pinned(pinned) if seen == *pinned => Ok(ServerCertVerified::assertion()),
            Rule::Pinned(_) | Rule::Nothing => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            Rule::Ca(verifier) => verifier.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
        }
    }

    // Whoever shows the certificate has to prove that the key is his, in every case.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Stream(plain)",
            Self::Tls(_) => "Stream(TLS)",
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Connects once more and looks whether TLS is spoken there, and under which certificate, if that shows.
/// Takes 4 s at most.
pub async fn speaks_tls(address: SocketAddr, host: &str) -> Option<Option<Fingerprint>> {
    if !answers_in_tls(address).await {
        return None;
    }
    let look = async {
        let stream = TcpStream::connect(address).await.ok()?;
        secure(stream, host, &Trust::Nothing).await.err()?.seen()
    };
    Some(timeout(PROBE, look).await.unwrap_or(None))
}

async fn answers_in_tls(address: SocketAddr) -> bool {
    let probe = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&CLIENT_HELLO).await?;
        // The first byte of a TLS record: an alert or a handshake message.
        let first = stream.read_u8().await?;
        io::Result::Ok(matches!(first, 0x15 | 0x16))
    };
    matches!(timeout(PROBE, probe).await, Ok(Ok(true)))
}

/// A TLS 1.2 ClientHello that any server answers, with a server's hello or with an alert.
const CLIENT_HELLO: [u8; 100] = *b"\
    \x16\x03\x01\x00\x5f\
    \x01\x00\x00\x5b\x03\x03\
    hearthgate looks for TLS, no key\
    \x00\
    \x00\x0e\xc0\x2b\xc0\x2f\xc0\x30\xc0\x13\x00\x9c\x00\x9d\x00\x2f\
    \x01\x00\
    \x00\x24\
    \x00\x0a\x00\x08\x00\x06\x00\x1d\x00\x17\x00\x18\
    \x00\x0b\x00\x02\x01\x00\
    \x00\x0d\x00\x0e\x00\x0c\x04\x03\x04\x01\x05\x03\x05\x01\x08\x04\x02\x01";

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn server(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; CLIENT_HELLO.len()];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(answer).await.unwrap();
        });
        address
    }

    #[test]
    fn the_hello_is_well_formed() {
        let length = |high: usize| {
            usize::from(CLIENT_HELLO[high]) << 8 | usize::from(CLIENT_HELLO[high + 1])
        };
        assert_eq!(length(3), CLIENT_HELLO.len() - 5);
        assert_eq!(length(7), CLIENT_HELLO.len() - 9);
        let ciphers = length(5 + 4 + 2 + 32 + 1);
        let extensions = 46 + ciphers + 2;
        assert_eq!(length(extensions), CLIENT_HELLO.len() - extensions - 2);
    }

    #[tokio::test]
    async fn a_server_that_answers_with_a_tls_record_answers_in_tls() {
        assert!(answers_in_tls(server(b"\x15\x03\x01\x00\x02\x02\x46").await).await);
        assert!(answers_in_tls(server(b"\x16\x03\x03").await).await);
    }

    #[tokio::test]
    async fn anything_else_does_not() {
        assert!(!answers_in_tls(server(b"HTTP/1.1 400 Bad Request\r\n").await).await);
        assert!(!answers_in_tls(server(b"").await).await);
    }

    #[tokio::test]
    async fn what_is_no_tls_is_told_apart() {
        let fault = async |answer: &'static [u8]| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (mut peer, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                assert!(peer.read(&mut [0; 4096]).await.unwrap() > 0);
                peer.write_all(answer).await.unwrap();
            });
            secure(stream, "127.0.0.1", &Trust::Nothing)
                .await
                .unwrap_err()
        };
        assert_eq!(
            fault(b"HTTP/1.1 400 Bad Request\r\n\r\n").await,
            TlsFault::NotTls
        );
        assert_eq!(fault(b"").await, TlsFault::HungUp);
        let alert = fault(b"\x15\x03\x03\x00\x02\x02\x28").await;
        assert!(matches!(alert, TlsFault::Refused(_)), "{alert}");
    }

    #[test]
    fn a_ca_file_of_no_use_is_named() {
        let folder = std::env::temp_dir().join(format!("hearthgate-ca-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("ca.pem");
        let problem = || roots(&path).unwrap_err();
        assert!(problem().starts_with("cannot be read"));
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(problem(), "holds no certificate");
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, garbage).unwrap();
        assert!(
            problem().starts_with("holds a certificate of no use"),
            "{}",
            problem()
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
