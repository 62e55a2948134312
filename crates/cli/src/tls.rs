//! TLS and the older dialect on the command line: the options of both ends, by the names that their files
//! have too, and what follows from them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hearthgate_client::{Endpoint, Trust};
use hearthgate_gateway::{GatewayOptions, StateFolder, TlsIdentity};
use hearthgate_hub::KnownGateway;
use hearthgate_protocol::crypto::Fingerprint;
use hearthgate_protocol::limits::TOKEN_PORT;
use hearthgate_protocol::variants::Dialect;
use tracing::warn;

use crate::args::choice;
use crate::duration;
use crate::exit::Failure;

/// How to trust a gateway that speaks TLS, and which dialect to speak with it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TlsOptions {
    /// The fingerprint of the gateway's certificate (wss://), SHA-256; its name and dates are not looked at.
    #[arg(long, value_name = "SHA256", help_heading = "Gateway")]
    pub(crate) tls_fingerprint: Option<Fingerprint>,
    /// The CA file, PEM, that stands for the gateway's certificate (wss://) and its host name.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "tls_fingerprint",
        help_heading = "Gateway"
    )]
    pub(crate) tls_ca: Option<PathBuf>,
    /// The port of the token endpoint, in the dialect 2023 [default: 443].
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Gateway")]
    pub(crate) token_port: Option<u16>,
    /// Which protocol: 2023 is that of before 2024, over TLS, with an OPENAPI_KEY as the key [default: 2024].
    #[arg(long, value_name = "DIALECT", value_parser = choice::<Dialect>(Dialect::ALL, Dialect::name), help_heading = "Variants of the protocol")]
    pub(crate) dialect: Option<Dialect>,
}

impl TlsOptions {
    /// Returns which protocol is spoken; what is given wins over what is known, here as below.
    pub(crate) fn dialect(&self, known: Option<&KnownGateway>) -> Dialect {
        let known = known.map(KnownGateway::dialect);
        self.dialect.or(known).unwrap_or_default()
    }

    /// Returns which certificate is the gateway's own.
    pub(crate) fn trust(&self, known: Option<&KnownGateway>) -> Trust {
        match (&self.tls_fingerprint, &self.tls_ca) {
            (Some(fingerprint), _) => Trust::Pinned(*fingerprint),
            (None, Some(path)) => Trust::Ca(path.clone()),
            (None, None) => known.map(KnownGateway::trust).unwrap_or_default(),
        }
    }

    /// Returns the port of the token endpoint.
    pub(crate) fn token_port(&self, known: Option<&KnownGateway>) -> u16 {
        let known = known.and_then(|known| known.token_port);
        self.token_port.or(known).unwrap_or(TOKEN_PORT)
    }

    /// Tells whether a known gateway is spoken to over TLS.
    pub(crate) fn is_secure(&self, known: Option<&KnownGateway>) -> bool {
        self.wants_tls(known) || known.is_some_and(KnownGateway::is_secure)
    }

    /// Checks that an address that was given says `wss://` where other options want TLS.
    pub(crate) fn check(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        if self.wants_tls(None) && !endpoint.is_secure() {
            let wanted = endpoint.clone().with_tls(true);
            return Err(Failure::usage(format!(
                "--tls-fingerprint, --tls-ca and --dialect 2023 are for gateways that speak TLS: write {wanted}"
            )));
        }
        Ok(())
    }

    fn wants_tls(&self, known: Option<&KnownGateway>) -> bool {
        self.tls_fingerprint.is_some()
            || self.tls_ca.is_some()
            || self.dialect(known) == Dialect::Older
    }
}

/// How a gateway speaks TLS, and which dialect.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServeOptions {
    /// Speaks TLS (wss://), with a certificate that is made once and kept in the state folder.
    #[arg(long, help_heading = "TLS")]
    pub(crate) tls: bool,
    /// Speaks TLS with this certificate, PEM, its chain behind it.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "tls",
        help_heading = "TLS"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of the certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "TLS")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Which protocol: 2023 is that of before 2024, over TLS, with an OPENAPI_KEY as the key [default: 2024].
    #[arg(long, value_name = "DIALECT", value_parser = choice::<Dialect>(Dialect::ALL, Dialect::name), help_heading = "Variants of the protocol")]
    pub(crate) dialect: Option<Dialect>,
    /// In the dialect 2023: a further address for the token endpoint, which clients expect on port 443; it
    /// is served on the main one in any case.
    #[arg(long, value_name = "ADDR:PORT", help_heading = "TLS")]
    pub(crate) token_listen: Option<String>,
    /// In the dialect 2023: how long access tokens hold [default: 2h].
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, help_heading = "TLS")]
    pub(crate) token_lifetime: Option<Duration>,
}

impl ServeOptions {
    /// Lays these over those of a file.
    pub(crate) fn or(self, file: Self) -> Self {
        let certificate_given = self.tls || self.tls_cert.is_some();
        let (tls, tls_cert, tls_key) = match certificate_given {
            true => (self.tls, self.tls_cert, self.tls_key),
            false => (file.tls, file.tls_cert, file.tls_key),
        };
        Self {
            tls,
            tls_cert,
            tls_key,
            dialect: self.dialect.or(file.dialect),
            token_listen: self.token_listen.or(file.token_listen),
            token_lifetime: self.token_lifetime.or(file.token_lifetime),
        }
    }

    /// Returns which protocol is spoken.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect.unwrap_or_default()
    }

    /// Puts certificate and tokens into a gateway's options. `folder`: where a self-made certificate is
    /// kept.
    pub(crate) fn apply(
        &self,
        options: &mut GatewayOptions,
        folder: Option<&StateFolder>,
    ) -> Result<(), Failure> {
        options.tls = self.identity(folder)?;
        if let Some(doubt) = options.tls.as_ref().and_then(TlsIdentity::doubt) {
            warn!(
                "the certificate: {doubt}; clients that check it by a CA refuse it, those that pin its \
                 fingerprint do not look"
            );
        }
        if self.dialect() == Dialect::Older {
            options.token_listen.clone_from(&self.token_listen);
            options.token_lifetime = self.token_lifetime.unwrap_or(options.token_lifetime);
        } else if self.token_listen.is_some() || self.token_lifetime.is_some() {
            return Err(Failure::usage(
                "token_listen and token_lifetime belong to the dialect 2023: add --dialect 2023, or leave \
                 them out",
            ));
        }
        Ok(())
    }

    fn identity(&self, folder: Option<&StateFolder>) -> Result<Option<TlsIdentity>, Failure> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                let identity = TlsIdentity::from_files(certificate, key);
                return identity.map(Some).map_err(Failure::usage);
            }
            (None, None) => {}
            _ => {
                return Err(Failure::usage(
                    "tls_cert and tls_key belong together: give both files, or --tls for a self-made \
                     certificate",
                ));
            }
        }
        if !self.tls && self.dialect() == Dialect::Current {
            return Ok(None);
        }
        let Some(folder) = folder else {
            warn!(
                "the certificate is another one after each start, since there is no state folder to keep it \
                 in: clients have to pin it anew"
            );
            return TlsIdentity::fleeting().map(Some).map_err(Failure::local);
        };
        let (identity, made) = folder.tls().map_err(crate::commands::refused)?;
        if made {
            let path = folder.certificate_path();
            warn!("made a new certificate and stored it in {}", path.display());
        }
        Ok(Some(identity))
    }
}

/// Says which certificate is served, for the line that says where.
pub(crate) fn shown(identity: Option<&TlsIdentity>) -> String {
    identity.map_or(String::new(), |identity| {
        format!(", certificate fingerprint {}", identity.fingerprint())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_wins_over_what_is_known() {
        let print = Fingerprint::of(b"x");
        let known = KnownGateway {
            ca: Some("ca.pem".into()),
            dialect: Some(Dialect::Older),
            token_port: Some(8443),
            ..KnownGateway::new("a", "a")
        };
        let none = TlsOptions::default();
        assert_eq!(none.trust(Some(&known)), Trust::Ca("ca.pem".into()));
        assert_eq!(none.dialect(Some(&known)), Dialect::Older);
        assert_eq!(none.token_port(Some(&known)), 8443);
        assert_eq!(
            (none.token_port(None), none.trust(None)),
            (443, Trust::Nothing)
        );
        assert!(none.is_secure(Some(&known)) && !none.is_secure(None));
        let given = TlsOptions {
            tls_fingerprint: Some(print),
            token_port: Some(1),
            ..TlsOptions::default()
        };
        assert_eq!(given.trust(Some(&known)), Trust::Pinned(print));
        assert_eq!(given.token_port(Some(&known)), 1);
        let plain: Endpoint = "ws://h".parse().unwrap();
        assert!(given.check(&plain).is_err() && none.check(&plain).is_ok());
        assert!(given.check(&plain.with_tls(true)).is_ok());
    }

    #[test]
    fn a_certificate_of_the_command_line_takes_the_place_of_the_files() {
        let file = ServeOptions {
            tls_cert: Some("a".into()),
            tls_key: Some("b".into()),
            dialect: Some(Dialect::Older),
            ..ServeOptions::default()
        };
        let given = ServeOptions {
            tls: true,
            ..ServeOptions::default()
        };
        let merged = given.or(file.clone());
        assert!(merged.tls && merged.tls_cert.is_none());
        assert_eq!(merged.dialect(), Dialect::Older);
        assert_eq!(ServeOptions::default().or(file).tls_cert, Some("a".into()));
    }
}
