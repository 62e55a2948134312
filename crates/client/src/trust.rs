//! Which certificate is a gateway's own (sections 3 and 8): said by the caller, looked at by `tls`.

use std::path::PathBuf;

use hearthgate_protocol::crypto::Fingerprint;

/// Which certificate is the gateway's, where TLS is spoken. Nothing is ever trusted on first use by
/// itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Nothing was said: the connection is refused, and the error has the fingerprint that was seen.
    #[default]
    Nothing,
    /// The one with this fingerprint, whatever name and dates it has.
    Pinned(Fingerprint),
    /// One that a CA in this file (PEM) has signed, for the host's name or IP address. The file is read
    /// for each connection.
    Ca(PathBuf),
}
