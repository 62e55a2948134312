//! One device as a file describes it, and the pieces that both kinds of files share.

use std::collections::BTreeMap;
use std::time::Duration;

use hearthgate_protocol::model::DeviceId;

use super::{DEFAULT_GRACE, DEFAULT_POLL, DEFAULT_PORT, DeviceConfig, Reach};
use crate::points::{Point, PointTable};
use crate::profiles::Profiles;

/// The longest id; the vendor's have 22 characters.
const ID_MAX: usize = 64;

/// One device of a file.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where it stands, for messages: `device 3, line 17`.
    pub(super) place: String,
    pub(super) id: DeviceId,
    pub(super) name: Option<String>,
    pub(super) category: Option<String>,
    pub(super) product: Option<String>,
    pub(super) reach: Reach,
    pub(super) poll: Option<Duration>,
    pub(super) grace: Duration,
    pub(super) refresh: Vec<u16>,
    /// By number: what is declared, or a name alone.
    pub(super) points: PointTable,
    /// Whether the cloud's own mapping declares the points: then no profile is asked.
    pub(super) is_mapped: bool,
}

impl Entry {
    pub(super) fn new(place: String, id: DeviceId, reach: Reach) -> Self {
        Self {
            place,
            id,
            name: None,
            category: None,
            product: None,
            reach,
            poll: Some(DEFAULT_POLL),
            grace: DEFAULT_GRACE,
            refresh: Vec::new(),
            points: PointTable::default(),
            is_mapped: false,
        }
    }

    pub(super) fn into_device(self, profiles: &Profiles) -> DeviceConfig {
        let mut points = self.points;
        let category = self.category.unwrap_or_default();
        if !self.is_mapped {
            let product = self.product.as_deref();
            for (number, point) in profiles.of(product, &category) {
                points.offer(*number, point);
            }
        }
        DeviceConfig {
            id: self.id,
            name: self.name,
            category,
            product: self.product,
            reach: self.reach,
            points,
            poll: self.poll,
            grace: self.grace,
            refresh: self.refresh,
        }
    }
}

/// Checks an id.
pub(super) fn id(text: &str) -> Result<DeviceId, String> {
    let plain = text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    if text.is_empty() || text.len() > ID_MAX || !plain {
        return Err(format!(
            "an id is 1 to {ID_MAX} printable ASCII characters without blanks"
        ));
    }
    Ok(DeviceId::from(text))
}

/// Splits `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`; `auto` is no host.
///
/// # Errors
/// Where the text is none of them.
pub fn address(text: &str) -> Result<(Option<String>, Option<u16>), String> {
    let wrong = || format!("`{text}` is no address: write HOST, HOST:PORT or auto");
    let text = text.trim();
    if text.is_empty() || text.eq_ignore_ascii_case("auto") {
        return Ok((None, None));
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
        let port = match rest {
            "" => None,
            rest => Some(rest.strip_prefix(':').ok_or_else(wrong)?),
        };
        (host, port)
    } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
        (text, None)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = match port {
        Some(port) => Some(self::port(port).ok_or_else(wrong)?),
        None => None,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || !host.chars().all(plain) {
        return Err(wrong());
    }
    Ok((Some(host.to_owned()), port))
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

/// Returns the port where none is given.
pub(super) fn port_or_default(port: Option<u16>) -> u16 {
    port.unwrap_or(DEFAULT_PORT)
}

/// Checks a data point's number.
pub(super) fn number(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "a data point has a number from 1 to 65535".to_owned())
}

/// Checks a data point's code.
pub(super) fn code(text: &str) -> Result<&str, String> {
    let plain = |c: char| c.is_ascii_graphic();
    if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
        return Err("a code is 1 to 64 printable ASCII characters without blanks".to_owned());
    }
    Ok(text)
}

/// Declares points; two of one code are a problem, named by the first number.
pub(super) fn declare(table: &mut PointTable, points: BTreeMap<u16, Point>) -> Result<(), String> {
    for (number, point) in points {
        let code = point.declared.code().clone();
        table
            .declare(number, point)
            .map_err(|other| format!("{number}: code {code} is that of data point {other}"))?;
    }
    Ok(())
}
