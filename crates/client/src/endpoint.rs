//! Where a gateway is: `ws://HOST[:PORT][/PATH]`, or `wss://` where TLS is spoken.
//!
//! Input is what a user wrote; output goes to `transport` (host and port) and into the upgrade
//! request (authority and path).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use hearthgate_protocol::limits::DEFAULT_PORT;

/// The longest address that is looked at, in bytes; a request head must hold it.
const LONGEST: usize = 2048;

/// The address of a gateway (section 3): host, port (8433 where none is given) and request path
/// (`/` where none is given).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an IP address, IPv6 without its brackets.
    host: String,
    port: u16,
    path: String,
    /// Whether TLS is spoken.
    secure: bool,
}

/// Why a text is no gateway address. Never repeats the text, which might hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Neither `ws://` nor `wss://` in front.
    #[error(
        "a gateway address begins with ws://, or with wss:// where it speaks TLS, as in \
         ws://192.168.1.20:8433 or ws://gateway.local"
    )]
    Scheme,
    /// A user name or a password.
    #[error(
        "a gateway address takes no user name or password (`@`): the device key is given separately"
    )]
    UserInfo,
    /// A query or a fragment.
    #[error("a gateway address takes no query (`?`) and no fragment (`#`), only a path")]
    Query,
    /// There is no host, or it holds what no host holds.
    #[error(
        "the host in the gateway address is empty or malformed: expected a name or an IP address"
    )]
    Host,
    /// An IPv6 address that is none, or without brackets.
    #[error("an IPv6 address is written in brackets, as in ws://[fe80::1]:8433")]
    Ipv6,
    /// A port that is none.
    #[error("the port in the gateway address is not a number from 1 to 65535")]
    Port,
    /// A character that cannot travel in a request.
    #[error("a gateway address holds printable ASCII without blanks only")]
    Character,
    /// A path that does not begin with a slash.
    #[error("a path begins with a slash, as in /api")]
    Path,
    /// Longer than any sensible one.
    #[error("the gateway address is longer than {LONGEST} bytes")]
    Length,
}

impl Endpoint {
    /// Makes an endpoint of a host (a name or an IP address, IPv6 without brackets) and a port, with
    /// the path `/`.
    ///
    /// # Errors
    /// Where the host is none or the port is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, EndpointError> {
        let ipv6 = host.contains(':');
        if ipv6 && host.parse::<Ipv6Addr>().is_err() {
            return Err(EndpointError::Ipv6);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if !ipv6 && (host.is_empty() || host.len() > LONGEST || !host.bytes().all(plain)) {
            return Err(EndpointError::Host);
        }
        if port == 0 {
            return Err(EndpointError::Port);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            path: "/".to_owned(),
            secure: false,
        })
    }

    /// Says whether TLS is spoken there (`wss://`).
    pub fn with_tls(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Takes another request path (section 10, `path`).
    ///
    /// # Errors
    /// Where it does not begin with a slash, or holds a query, a fragment, a blank or anything that
    /// is not printable ASCII.
    pub fn with_path(mut self, path: &str) -> Result<Self, EndpointError> {
        check_characters(path)?;
        if path.contains(['?', '#']) {
            return Err(EndpointError::Query);
        }
        if !path.starts_with('/') {
            return Err(EndpointError::Path);
        }
        path.clone_into(&mut self.path);
        Ok(self)
    }

    /// Returns the host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the request path; it begins with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Tells whether TLS is spoken there.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Returns `HOST:PORT`, an IPv6 address in brackets, as the Host header has it.
    pub fn authority(&self) -> String {
        self.authority_at(self.port)
    }

    /// Returns the same for another port of the host.
    pub(crate) fn authority_at(&self, port: u16) -> String {
        let host = &self.host;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (scheme, rest) = text.split_once("://").ok_or(EndpointError::Scheme)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            _ => return Err(EndpointError::Scheme),
        };
        check_characters(rest)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(EndpointError::UserInfo);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']').ok_or(EndpointError::Ipv6)?;
                if !host.contains(':') {
                    return Err(EndpointError::Ipv6);
                }
                match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if rest.is_empty() => (host, None),
                    None => return Err(EndpointError::Host),
                }
            }
            None => match authority.split_once(':') {
                Some((_, port)) if port.contains(':') => return Err(EndpointError::Ipv6),
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = port.map_or(Ok(DEFAULT_PORT), parse_port)?;
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self::new(host, port)?.with_path(path)?.with_tls(secure))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path == "/" { "" } else { &self.path };
        let scheme = if self.secure { "wss" } else { "ws" };
        f.pad(&format!("{scheme}://{}{path}", self.authority()))
    }
}

fn check_characters(text: &str) -> Result<(), EndpointError> {
    if text.len() > LONGEST {
        Err(EndpointError::Length)
    } else if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(EndpointError::Character)
    }
}

fn parse_port(text: &str) -> Result<u16, EndpointError> {
    // `u16::from_str` would take a sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EndpointError::Port);
    }
    text.parse().map_err(|_| EndpointError::Port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(String, u16, String), EndpointError> {
        text.parse::<Endpoint>()
            .map(|endpoint| (endpoint.host, endpoint.port, endpoint.path))
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let check = |text: &str, host: &str, port: u16, path: &str| {
            assert_eq!(parse(text), Ok((host.into(), port, path.into())), "{text}");
        };
        check("ws://gateway.local", "gateway.local", 8433, "/");
        check("WS://10.0.0.7/", "10.0.0.7", 8433, "/");
        check("ws://10.0.0.7:9000/api/v2", "10.0.0.7", 9000, "/api/v2");
        check("ws://[::1]", "::1", 8433, "/");
        check("ws://[fe80::1]:1/x", "fe80::1", 1, "/x");
    }

    #[test]
    fn anything_else_is_refused_with_its_own_reason() {
        use EndpointError as E;
        for (text, error) in [
            ("gateway.local:8433", E::Scheme),
            ("http://gateway.local", E::Scheme),
            ("", E::Scheme),
            ("wss:/gateway.local", E::Scheme),
            ("wss://user:secret@host", E::UserInfo),
            ("ws://user:secret@host", E::UserInfo),
            ("ws://host?x=1", E::Query),
            ("ws://host/path#x", E::Query),
            ("ws://", E::Host),
            ("ws://:8433", E::Host),
            ("ws://ho%20st", E::Host),
            ("ws://[::1]x", E::Host),
            ("ws://::1:8433", E::Ipv6),
            ("ws://[host]:1", E::Ipv6),
            ("ws://[::1", E::Ipv6),
            ("ws://[::g]", E::Ipv6),
            ("ws://host:", E::Port),
            ("ws://host:0", E::Port),
            ("ws://host:+1", E::Port),
            ("ws://host:65536", E::Port),
            ("ws://host/a b", E::Character),
            ("ws://host/a\r\nX: y", E::Character),
            ("ws://häuschen", E::Character),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        let secret = "ws://user:secret@host".parse::<Endpoint>().unwrap_err();
        assert!(!secret.to_string().contains("secret"));
        let long = format!("ws://host/{}", "x".repeat(LONGEST));
        assert_eq!(parse(&long), Err(E::Length));
    }

    #[test]
    fn display_parses_back() {
        for text in [
            "ws://gateway.local:8433",
            "ws://[::1]:9000/x",
            "wss://10.0.0.7:8433/x",
            "ws://10.0.0.7:1/a/b",
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
            assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
        }
        let secure: Endpoint = "WSS://10.0.0.7".parse().unwrap();
        assert!(secure.is_secure() && !secure.clone().with_tls(false).is_secure());
        assert_eq!(secure.port(), 8433);
        assert_eq!(
            "ws://[::1]".parse::<Endpoint>().unwrap().authority(),
            "[::1]:8433"
        );
    }

    #[test]
    fn another_path_is_checked_as_well() {
        let endpoint: Endpoint = "ws://host".parse().unwrap();
        assert_eq!(endpoint.clone().with_path("/y").unwrap().path(), "/y");
        for path in ["", "y", "/y?z", "/y z"] {
            assert!(endpoint.clone().with_path(path).is_err(), "{path}");
        }
    }
}
