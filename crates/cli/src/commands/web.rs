//! The page of a hub, for the commands that serve one.
//!
//! Input are the options of the command line; output is a page that is served, with whatever opens its door.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use hearthgate_gateway::{StateFolder, TlsIdentity};
use hearthgate_hub::Hub;
use hearthgate_web::{Credentials, LoginMode, Token, User, Web, WebOptions};
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::exit::Failure;

/// Where the page is where nothing else is said.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8480);
/// The file of the token, in the state folder.
const TOKEN_FILE: &str = "web-token";
/// The name of the folder of the page's own certificate, in the state folder.
const CERTIFICATE: &str = "web";
/// The longest password file, in bytes.
const PASSWORD_MAX: u64 = 4096;

/// How the page is served.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "The page and the API")]
pub(crate) struct WebArgs {
    /// The address to serve the page and the API on [default: 127.0.0.1:8480, or a free port where that is
    /// taken]. Beyond loopback a login is asked for.
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "no_web")]
    pub(crate) web: Option<SocketAddr>,
    /// Serves no page and no API.
    #[arg(long)]
    pub(crate) no_web: bool,
    /// When a login is asked for: `auto` beyond loopback, `always` also there [default: auto].
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(crate) web_login: Option<WebLogin>,
    /// A user who may log in with a password, besides the token.
    #[arg(long, value_name = "NAME", requires = "web_password_file")]
    pub(crate) web_user: Option<String>,
    /// The file that holds that user's password.
    #[arg(long, value_name = "FILE", requires = "web_user")]
    pub(crate) web_password_file: Option<PathBuf>,
    /// Encrypts (https://), with a certificate that is made once and kept in the state folder.
    #[arg(long)]
    pub(crate) web_tls: bool,
    /// Encrypts with this certificate, PEM, its chain behind it.
    #[arg(
        long,
        value_name = "FILE",
        requires = "web_tls_key",
        conflicts_with = "web_tls"
    )]
    pub(crate) web_tls_cert: Option<PathBuf>,
    /// The private key of that certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "web_tls_cert")]
    pub(crate) web_tls_key: Option<PathBuf>,
    /// A name under which the page is reached on loopback besides localhost, through a proxy for example;
    /// repeatable.
    #[arg(long, value_name = "HOST")]
    pub(crate) web_host: Vec<String>,
    /// Adds the values of all data points to the metrics.
    #[arg(long)]
    pub(crate) web_metrics_values: bool,
}

/// The same in the hub's configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WebFile {
    address: Option<SocketAddr>,
    off: bool,
    login: Option<WebLogin>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    tls: bool,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    hosts: Vec<String>,
    metrics_values: bool,
}

/// When a login is asked for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WebLogin {
    /// Beyond loopback.
    Auto,
    /// Also on loopback.
    Always,
}

impl WebArgs {
    /// Lays these over those of a file in `folder`.
    pub(crate) fn or(self, file: WebFile, folder: &Path) -> Self {
        let beside = |path: Option<PathBuf>| path.map(|path| folder.join(path));
        let tls_given = self.web_tls || self.web_tls_cert.is_some();
        let in_file = |path: Option<PathBuf>| beside(path).filter(|_| !tls_given);
        Self {
            no_web: self.no_web || (file.off && self.web.is_none()),
            web: self.web.or(file.address),
            web_login: self.web_login.or(file.login),
            web_user: self.web_user.or(file.user),
            web_password_file: self.web_password_file.or(beside(file.password_file)),
            web_tls: self.web_tls || (file.tls && !tls_given),
            web_tls_cert: self.web_tls_cert.or(in_file(file.tls_cert)),
            web_tls_key: self.web_tls_key.or(in_file(file.tls_key)),
            web_host: if self.web_host.is_empty() {
                file.hosts
            } else {
                self.web_host
            },
            web_metrics_values: self.web_metrics_values || file.metrics_values,
        }
    }

    /// Makes the options of the page. `state`: the folder for what is kept, if anything is.
    pub(super) fn options(&self, state: Option<&Path>) -> Result<WebOptions, Failure> {
        let mut options = options(self.web);
        if self.web_login == Some(WebLogin::Always) {
            options.login = LoginMode::Always;
        }
        options.hosts.clone_from(&self.web_host);
        options.value_metrics = self.web_metrics_values;
        if options.needs_login() {
            options.credentials = Some(self.credentials(state)?);
        }
        let identity = match (&self.web_tls_cert, &self.web_tls_key) {
            (Some(certificate), Some(key)) => {
                Some(TlsIdentity::from_files(certificate, key).map_err(Failure::usage)?)
            }
            _ if self.web_tls => Some(own_certificate(state)?),
            _ => None,
        };
        options.tls = identity.map(|identity| {
            tracing::info!(
                "the fingerprint of the page's certificate is {}",
                identity.fingerprint()
            );
            identity.config()
        });
        Ok(options)
    }

    fn credentials(&self, state: Option<&Path>) -> Result<Credentials, Failure> {
        let Some(state) = state else {
            return Err(Failure::usage(
                "a login needs a state folder, in which the token is kept: leave `--state none` out",
            ));
        };
        let path = state.join(TOKEN_FILE);
        let (token, is_new) = Token::load_or_make(&path).map_err(Failure::local)?;
        if is_new {
            let path = path.display();
            tracing::warn!(
                "the page asks for a login; the token, shown this once and kept in {path}: {}",
                token.text()
            );
        }
        let user = match (&self.web_user, &self.web_password_file) {
            (Some(name), Some(path)) => Some(User::new(name, &password(path)?)),
            _ => None,
        };
        Ok(Credentials { token, user })
    }
}

fn password(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |problem: &dyn std::fmt::Display| {
        Failure::usage(format!("the password file {}: {problem}", path.display()))
    };
    let size = fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > PASSWORD_MAX {
        return Err(failed(&"it is too long to hold a password"));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| failed(&error))?);
    let line = text.strip_suffix("\r\n").or(text.strip_suffix('\n'));
    let line = line.unwrap_or(&text);
    if line.is_empty() {
        return Err(failed(&"it is empty"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Returns the page's own certificate, made where there is none yet.
fn own_certificate(state: Option<&Path>) -> Result<TlsIdentity, Failure> {
    match state {
        Some(state) => {
            let folder = StateFolder::open(state, Some(CERTIFICATE)).map_err(Failure::local)?;
            Ok(folder.tls().map_err(Failure::local)?.0)
        }
        None => TlsIdentity::fleeting().map_err(Failure::local),
    }
}

/// A page that is served.
pub(super) struct Page {
    /// What to open in a browser.
    pub(super) url: String,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Page {
    /// Serves the page of a hub.
    pub(super) async fn start(hub: Hub, options: WebOptions) -> Result<Self, Failure> {
        let web = Web::bind(hub, options).await.map_err(Failure::local)?;
        let url = web.url();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(web.run(stop.clone()));
        Ok(Self { url, stop, serving })
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(fault) = self.serving.await {
            tracing::error!("the page ended by a bug: {fault}");
        }
    }
}

/// Makes options: at the address that was given, or at the usual one or a free one.
fn options(address: Option<SocketAddr>) -> WebOptions {
    WebOptions {
        or_free_port: address.is_none(),
        version: env!("CARGO_PKG_VERSION"),
        ..WebOptions::new(address.unwrap_or(DEFAULT))
    }
}
