//! The gateway's certificate, and TLS on accepted connections (sections 3 and 8).
//!
//! Input are certificate and key in PEM, from files or made here; output is what the listener accepts
//! TLS with, and the fingerprint that users compare and pin.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearthgate_protocol::crypto::Fingerprint;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, Error, RootCertStore, ServerConfig};

/// A certificate with its key, ready to serve. `Debug` shows the fingerprint alone.
#[derive(Clone)]
pub struct TlsIdentity {
    acceptor: TlsAcceptor,
    fingerprint: Fingerprint,
    doubt: Option<&'static str>,
}

/// Why TLS cannot be served with a certificate and its key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no certificate.
    #[error(
        "{origin} holds no certificate{problem}: expected PEM, with -----BEGIN CERTIFICATE-----"
    )]
    NoCertificate {
        /// The file, or what else it was.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no private key.
    #[error(
        "{origin} holds no private key{problem}: expected PEM, with -----BEGIN PRIVATE KEY-----, \
         unencrypted"
    )]
    NoKey {
        /// The file, or what else it was.
        origin: String,
        /// What is wrong with it, without the content.
        problem: String,
    },
    /// Certificate and key do not belong together.
    #[error("the private key is not that of the certificate: give both files of one pair")]
    Mismatch,
    /// They cannot be used.
    #[error(
        "this certificate or its key cannot be used for TLS: {0}; ECDSA, Ed25519 and RSA from 2048 bits can"
    )]
    Unusable(String),
    /// No certificate can be made.
    #[error("cannot make a certificate: {0}")]
    Make(String),
}

impl TlsIdentity {
    /// Reads a certificate (with its chain, if it has one) and its private key from files in PEM.
    ///
    /// # Errors
    /// Where one of them cannot be read, is something else, or they do not belong together. Never shows
    /// the key.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::Read {
                path: path.to_owned(),
                source,
            })
        };
        let (certificate_pem, key_pem) = (read(certificate)?, zeroize::Zeroizing::new(read(key)?));
        let names = (certificate.display().to_string(), key.display().to_string());
        Self::from_pem(&certificate_pem, &key_pem, &names)
    }

    /// Takes both as PEM; `names` are for errors.
    pub(crate) fn from_pem(
        certificate: &[u8],
        key: &[u8],
        names: &(String, String),
    ) -> Result<Self, TlsError> {
        let none = |problem: String| TlsError::NoCertificate {
            origin: names.0.clone(),
            problem,
        };
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| none(format!(" ({error})")))?;
        let first = chain.first().ok_or_else(|| none(String::new()))?;
        let fingerprint = Fingerprint::of(first);
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::NoKey {
            origin: names.1.clone(),
            problem: match error {
                pem::Error::NoItemsFound => String::new(),
                error => format!(" ({error})"),
            },
        })?;
        let doubt = doubt(&chain);
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Unusable(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                Error::InconsistentKeys(_) => TlsError::Mismatch,
                error => TlsError::Unusable(error.to_string()),
            })?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            fingerprint,
            doubt,
        })
    }

    /// Makes a certificate that is kept nowhere.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn fleeting() -> Result<Self, TlsError> {
        let (certificate, key) = make()?;
        let names = ("the new certificate".to_owned(), "its key".to_owned());
        Self::from_pem(certificate.as_bytes(), key.as_bytes(), &names)
    }

    /// Returns the certificate's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Returns what clients that check it by a CA may not like about the certificate: its dates. Who pins
    /// the fingerprint does not look at them.
    pub fn doubt(&self) -> Option<&'static str> {
        self.doubt
    }

    /// Returns how it is served, for another server than the gateway's: the hub's page.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(self.acceptor.config())
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsIdentity({})", self.fingerprint)
    }
}

/// Makes a self-signed certificate and its key, both in PEM. Its name is of no use to clients, who pin it;
/// its dates are far apart, since the clocks of gateways are often wrong.
pub(crate) fn make() -> Result<(String, zeroize::Zeroizing<String>), TlsError> {
    let failed = |error: rcgen::Error| TlsError::Make(error.to_string());
    let key = rcgen::KeyPair::generate().map_err(failed)?;
    let mut params =
        rcgen::CertificateParams::new(vec!["hearthgate.local".to_owned()]).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Hearthgate gateway");
    let certificate = params.self_signed(&key).map_err(failed)?;
    let key = zeroize::Zeroizing::new(key.serialize_pem());
    Ok((certificate.pem(), key))
}

/// Looks at the dates, by checking the certificate against itself.
fn doubt(chain: &[CertificateDer<'_>]) -> Option<&'static str> {
    let (first, rest) = chain.split_first()?;
    let mut roots = RootCertStore::empty();
    roots.add(chain.last()?.clone()).ok()?;
    let parsed = ParsedCertificate::try_from(first).ok()?;
    let algorithms = ring::default_provider().signature_verification_algorithms;
    let now = UnixTime::now();
    let checked =
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, rest, now, algorithms.all);
    match checked {
        Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => Some("it has expired"),
        Err(Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => Some("it is not valid yet, by this machine's clock"),
        _ => None,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (String, String) {
        ("a.crt".to_owned(), "a.key".to_owned())
    }

    fn from(certificate: &str, key: &str) -> Result<TlsIdentity, TlsError> {
        TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes(), &names())
    }

    #[test]
    fn what_is_made_can_be_served_and_is_another_each_time() {
        let (certificate, key) = make().unwrap();
        let made = from(&certificate, &key).unwrap();
        assert_eq!(made.doubt(), None);
        let again = from(&certificate, &key).unwrap();
        assert_eq!(again.fingerprint(), made.fingerprint());
        let other = TlsIdentity::fleeting().unwrap();
        assert_ne!(other.fingerprint(), made.fingerprint());
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_wrong_with_the_files_is_named_and_no_key_is_shown() {
        let (certificate, key) = make().unwrap();
        let (other, _) = make().unwrap();
        let problem =
            |certificate: &str, key: &str| from(certificate, key).unwrap_err().to_string();
        assert!(problem("", &key).starts_with("a.crt holds no certificate"));
        assert!(problem(&key, &key).starts_with("a.crt holds no certificate"));
        assert!(problem(&certificate, "").starts_with("a.key holds no private key"));
        assert!(problem(&certificate, &certificate).starts_with("a.key holds no private key"));
        assert!(problem(&other, &key).contains("not that of the certificate"));
        let half = &key[..key.len() / 2];
        assert!(problem(&certificate, half).starts_with("a.key holds no private key"));
        assert!(!problem(&certificate, half).contains(&key[40..60]));
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let text = problem(garbage, &key);
        assert!(text.contains("cannot be used for TLS"), "{text}");
        let missing = TlsIdentity::from_files(Path::new("/nowhere/a"), Path::new("/nowhere/b"));
        assert!(missing.unwrap_err().to_string().contains("/nowhere/a"));
    }

    #[test]
    fn dates_that_a_ca_would_not_like_are_doubted() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut doubts = Vec::new();
        for (from_year, to_year) in [(2000, 2001), (3000, 3001), (2000, 3001)] {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.not_before = rcgen::date_time_ymd(from_year, 1, 1);
            params.not_after = rcgen::date_time_ymd(to_year, 1, 1);
            let certificate = params.self_signed(&key).unwrap().pem();
            doubts.push(from(&certificate, &key.serialize_pem()).unwrap().doubt());
        }
        let [expired, early, sound] = doubts[..] else {
            panic!()
        };
        assert_eq!(expired, Some("it has expired"));
        assert!(early.is_some_and(|doubt| doubt.contains("not valid yet")));
        assert_eq!(sound, None);
    }
}
