//! Which series a person means.

use std::collections::BTreeSet;

use hearthgate_history::{Reader, names as ids_of};
use hearthgate_hub::{DeviceRef, GatewayId, Named, Names, Subject};

use super::unanswered;
use crate::exit::Failure;

/// The most candidates that an error lists.
const LISTED: usize = 8;

/// What is meant.
pub(super) enum Found {
    One(Subject),
    /// All, or those of a device or gateway.
    Several(Vec<Subject>),
}

/// A device or a gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Gateway(GatewayId),
    Device(DeviceRef),
}

/// Finds what is meant by a device and a code.
pub(super) fn find(
    reader: &Reader,
    names: &Names,
    device: Option<&str>,
    code: Option<&str>,
) -> Result<Found, Failure> {
    let all = reader.subjects(None).map_err(unanswered)?;
    let Some(meant) = device else {
        return Ok(Found::Several(all));
    };
    let thing = thing(&all, names, meant)?;
    let of_it = all.into_iter().filter(|subject| match &thing {
        Thing::Gateway(id) => ids_of(subject).0 == id.as_str(),
        Thing::Device(device) => thing_of(subject) == Thing::Device(device.clone()),
    });
    let of_it: Vec<Subject> = of_it.collect();
    let Some(code) = code else {
        return Ok(Found::Several(of_it));
    };
    let of_thing = || of_it.iter().filter(|subject| thing_of(subject) == thing);
    let found = of_thing().find(|subject| ids_of(subject).2 == code);
    found.cloned().map(Found::One).ok_or_else(|| {
        let codes: Vec<&str> = of_thing().map(|subject| ids_of(subject).2).collect();
        Failure::usage(format!(
            "there is no history of `{code}` of {meant}; there is of {}",
            codes.join(", ")
        ))
    })
}

fn thing_of(subject: &Subject) -> Thing {
    match subject {
        Subject::Point(device, _) | Subject::Online(device) => Thing::Device(device.clone()),
        Subject::Link(gateway) => Thing::Gateway(gateway.clone()),
    }
}

fn thing(all: &[Subject], names: &Names, meant: &str) -> Result<Thing, Failure> {
    let known: BTreeSet<Thing> = all.iter().map(thing_of).collect();
    let id = |thing: &Thing| match thing {
        Thing::Gateway(gateway) => gateway.to_string(),
        Thing::Device(device) => device.device.to_string(),
    };
    let whole = |thing: &&Thing| match thing {
        Thing::Device(device) => device.to_string() == meant || device.device.as_str() == meant,
        Thing::Gateway(gateway) => gateway.as_str() == meant,
    };
    let mut found: Vec<Thing> = known.iter().filter(whole).cloned().collect();
    if found.is_empty() {
        let named = names.find(meant).into_iter().map(|named| match named {
            Named::Gateway(gateway) => Thing::Gateway(gateway),
            Named::Device(device) => Thing::Device(device),
        });
        found = named.filter(|thing| known.contains(thing)).collect();
    }
    if found.is_empty() && !meant.is_empty() {
        let begins = |thing: &&Thing| id(thing).starts_with(meant);
        found = known.iter().filter(begins).cloned().collect();
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Failure::usage(format!(
            "there is no history of `{meant}`; `hearthgate history` lists what there is"
        ))),
        several => {
            let mut listed: Vec<String> = several.iter().take(LISTED).map(whole_name).collect();
            if several.len() > LISTED {
                listed.push(format!("and {} more", several.len() - LISTED));
            }
            Err(Failure::usage(format!(
                "`{meant}` could be {}: {}",
                several.len(),
                listed.join(", ")
            )))
        }
    }
}

fn whole_name(thing: &Thing) -> String {
    match thing {
        Thing::Gateway(gateway) => gateway.to_string(),
        Thing::Device(device) => device.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(meant: &str, expected: Result<&str, &str>) {
        let point = |gateway: &str, device: &str| {
            Subject::Point(DeviceRef::new(gateway, device), "temp".into())
        };
        let all = [
            point("gw1", "aa11"),
            point("gw1", "aa22"),
            point("gw2", "aa11"),
            point("gw2", "bb"),
            Subject::Link("gw2".into()),
        ];
        let names = Names::in_memory();
        names
            .rename_device(&DeviceRef::new("gw1", "aa22"), Some("Kitchen"))
            .unwrap();
        match (thing(&all, &names, meant), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(whole_name(&found), expected, "{meant}"),
            (Err(failure), Err(expected)) => {
                let text = format!("{failure:?}");
                assert!(text.contains(expected), "{meant}: {text}");
            }
            (found, _) => panic!("{meant}: {found:?}"),
        }
    }

    #[test]
    fn ids_names_and_beginnings() {
        check("bb", Ok("gw2/bb"));
        check("b", Ok("gw2/bb"));
        check("kitchen", Ok("gw1/aa22"));
        check("gw1/aa11", Ok("gw1/aa11"));
        check("gw2", Ok("gw2"));
        check("aa11", Err("could be 2: gw1/aa11, gw2/aa11"));
        check("aa", Err("could be 3"));
        check("none", Err("`hearthgate history` lists"));
        check("", Err("no history"));
    }
}
