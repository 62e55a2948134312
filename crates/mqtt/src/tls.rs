//! TLS towards the broker: whom to trust, and who we are.
//!
//! Input are the user's files, read once; output is what `broker` connects with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::options::TlsFiles;

/// Why `mqtts://` cannot work, whatever the broker does.
#[derive(Debug, thiserror::Error)]
#[error("{what}{}: {problem}", path.as_ref().map_or(String::new(), |path| format!(" {}", path.display())))]
pub struct TlsError {
    what: &'static str,
    path: Option<PathBuf>,
    problem: String,
}

/// Makes the configuration of all connections.
pub(crate) fn config(files: &TlsFiles) -> Result<rustls::ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    match &files.ca {
        Some(path) => {
            for certificate in certificates("the authority", path)? {
                roots
                    .add(certificate)
                    .map_err(|error| wrong("the authority", Some(path), error))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let problem = "the system has no authorities: name one with --mqtt-ca-file";
                return Err(wrong("TLS", None, problem));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("TLS", None, error))?
        .with_root_certificates(roots);
    match (&files.certificate, &files.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = certificates("the client certificate", certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| wrong("the key of the client certificate", Some(key), error))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|error| wrong("the client certificate", Some(certificate), error))
        }
        (Some(path), None) | (None, Some(path)) => Err(wrong(
            "the client certificate",
            Some(path),
            "certificate and key are given together or not at all",
        )),
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong(what, Some(path), error))?
        .collect();
    let found = read.map_err(|error| wrong(what, Some(path), error))?;
    if found.is_empty() {
        return Err(wrong(
            what,
            Some(path),
            "there is no certificate in the file",
        ));
    }
    Ok(found)
}

fn wrong(what: &'static str, path: Option<&Path>, problem: impl fmt::Display) -> TlsError {
    TlsError {
        what,
        path: path.map(Path::to_owned),
        problem: problem.to_string(),
    }
}
