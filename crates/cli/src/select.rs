//! Which devices a person means: a whole id, a name, or an unambiguous beginning of an id.

use hearthgate_protocol::model::DeviceId;

use crate::exit::Failure;
use crate::names::Names;

/// The most candidates that an error lists.
const LISTED: usize = 8;

/// Returns the devices that are meant; all of them where none is named.
pub(crate) fn devices(
    known: &[DeviceId],
    names: &Names,
    meant: &[String],
) -> Result<Vec<DeviceId>, Failure> {
    if meant.is_empty() {
        return Ok(known.to_vec());
    }
    meant
        .iter()
        .map(|meant| device(known, names, meant))
        .collect()
}

/// Returns the one device that is meant.
pub(crate) fn device(known: &[DeviceId], names: &Names, meant: &str) -> Result<DeviceId, Failure> {
    if let Some(exact) = known.iter().find(|id| id.as_str() == meant) {
        return Ok(exact.clone());
    }
    let named = |id: &&DeviceId| {
        let name = names.of(id.as_str());
        !name.is_empty() && name.to_lowercase() == meant.to_lowercase()
    };
    let begins = |id: &&DeviceId| !meant.is_empty() && id.as_str().starts_with(meant);
    let mut found: Vec<&DeviceId> = known.iter().filter(named).collect();
    if found.is_empty() {
        found = known.iter().filter(begins).collect();
    }
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(unknown(known, names, meant)),
        several => Err(Failure::usage(format!(
            "`{meant}` could be {} devices: {}",
            several.len(),
            list(several.iter().copied(), names)
        ))),
    }
}

fn unknown(known: &[DeviceId], names: &Names, meant: &str) -> Failure {
    let nearest = known
        .iter()
        .flat_map(|id| [id.as_str(), names.of(id.as_str())])
        .filter(|candidate| !candidate.is_empty())
        .map(|candidate| (strsim::jaro_winkler(candidate, meant), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match nearest {
        Some((_, candidate)) => format!("did you mean {candidate}?"),
        None => "`hearthgate devices` lists them".to_owned(),
    };
    Failure::usage(format!("no device `{meant}` at this gateway; {hint}"))
}

fn list<'a>(devices: impl ExactSizeIterator<Item = &'a DeviceId>, names: &Names) -> String {
    let more = devices.len().saturating_sub(LISTED);
    let mut listed: Vec<String> = devices
        .take(LISTED)
        .map(|id| match names.of(id.as_str()) {
            "" => id.to_string(),
            name => format!("{id} ({name})"),
        })
        .collect();
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(meant: &str) -> Result<String, String> {
        let known: Vec<DeviceId> = ["aa11", "aa1122", "bb01", "bb02"]
            .into_iter()
            .map(DeviceId::from)
            .collect();
        let names: Names = [("bb01", "Kitchen"), ("bb02", "Twin"), ("aa11", "Twin")]
            .map(|(device, name)| (device.to_owned(), name.to_owned()))
            .into_iter()
            .collect();
        device(&known, &names, meant)
            .map(|id| id.to_string())
            .map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn ids_names_and_beginnings() {
        assert_eq!(find("aa11").unwrap(), "aa11");
        assert_eq!(find("aa112").unwrap(), "aa1122");
        assert_eq!(find("kitchen").unwrap(), "bb01");
    }

    #[test]
    fn what_is_ambiguous_or_unknown_says_what_it_could_be() {
        assert!(
            find("bb")
                .unwrap_err()
                .contains("bb01 (Kitchen), bb02 (Twin)")
        );
        assert!(find("Twin").unwrap_err().contains("could be 2 devices"));
        assert!(find("").unwrap_err().contains("no device"));
        assert!(
            find("kitchn")
                .unwrap_err()
                .contains("did you mean Kitchen?")
        );
    }
}
