//! The layers that read: device list, schemas, statuses.
//!
//! Input is an open session; output are the checks and [`DeviceFacts`], for `bundle`.

use std::collections::{HashMap, HashSet};

use hearthgate_protocol::limits::DEVICES_PER_REQUEST;
use hearthgate_protocol::model::{DeviceId, Schema};
use hearthgate_protocol::wire::{
    Request, ShapeError, StatusEntry, parse_devices, parse_schemas, parse_statuses, split_array,
};
use tokio::time::Instant;

use super::{Doctor, Failed, advice};
use crate::line::Fault;
use crate::oddities::oddities;
use crate::session::Session;

/// The most devices that are read; more than any gateway has.
const DEVICES_MAX: usize = 10_000;
/// The most oddities that one report lists.
const LISTED_MAX: usize = 2_000;

/// What was read of one device.
#[derive(Clone, Debug)]
pub struct DeviceFacts {
    /// Its id.
    pub device: DeviceId,
    /// What it declares, if that was read, and the JSON text as it came.
    pub schema: Option<(Schema, String)>,
    /// Its state, if that was read, and the JSON text as it came.
    pub status: Option<(StatusEntry, String)>,
}

impl DeviceFacts {
    /// Lists what is odd about it, for people.
    pub fn oddities(&self) -> Vec<String> {
        let Some((schema, _)) = &self.schema else {
            return Vec::new();
        };
        let readings = self.status.as_ref().map(|(status, _)| &*status.readings);
        let found = oddities(schema, readings.unwrap_or_default());
        found.iter().map(ToString::to_string).collect()
    }
}

/// Why something could not be read.
pub(crate) enum Unread {
    Fault(Fault),
    Answer(String),
}

impl Unread {
    pub(crate) fn text(&self, request: &str) -> String {
        match self {
            Self::Fault(fault) => advice::unanswered(request, fault),
            Self::Answer(problem) => format!(
                "{request}: {problem}; the gateway may speak another version of the protocol, please \
                 report it with --bundle"
            ),
        }
    }
}

impl Doctor<'_> {
    pub(super) async fn device_list(
        &mut self,
        session: &mut Session,
    ) -> Result<Vec<DeviceId>, Failed> {
        let deadline = self.deadlines.layer();
        let ids = match read_devices(session, deadline).await {
            Ok(ids) => ids,
            Err(unread) => return self.fail(unread.text("get_devices")),
        };
        let mut seen = HashSet::new();
        let (mut unique, mut doubled) = (Vec::new(), Vec::new());
        for id in ids {
            match seen.insert(id.clone()) {
                true => unique.push(id),
                false => doubled.push(id.to_string()),
            }
        }
        let count = unique.len();
        if count == 0 {
            self.warn("the list is empty: pair devices with the gateway in the vendor's app");
        } else if !doubled.is_empty() {
            let doubled = advice::list(&doubled);
            self.warn(format!("{count} devices, some listed twice: {doubled}"));
        } else if count > DEVICES_MAX {
            self.warn(format!(
                "{count} devices, the first {DEVICES_MAX} are looked at"
            ));
            unique.truncate(DEVICES_MAX);
        } else {
            self.pass(plural(count, "device"));
        }
        Ok(unique)
    }

    pub(super) async fn schemas_and_statuses(
        &mut self,
        session: &mut Session,
        ids: Vec<DeviceId>,
    ) -> Result<(), Failed> {
        let request = Request::GetSchema;
        let deadline = self.deadlines.layer();
        let schemas = match sliced(session, &ids, request, parse_schemas, deadline).await {
            Ok(schemas) => schemas,
            Err(unread) => return self.fail(unread.text("get_schema")),
        };
        let mut schemas: HashMap<DeviceId, _> = schemas
            .into_iter()
            .map(|(entry, json)| (entry.device, (entry.schema, json)))
            .collect();
        self.devices = ids
            .iter()
            .map(|id| DeviceFacts {
                device: id.clone(),
                schema: schemas.remove(id.as_str()),
                status: None,
            })
            .collect();
        let strangers: Vec<String> = schemas.keys().map(ToString::to_string).collect();

        // The values belong to what is odd about the schemas, so they are read before that is told.
        let deadline = self.deadlines.layer();
        let statuses = sliced(session, &ids, Request::GetStatus, parse_statuses, deadline).await;
        let (statuses, failed) = match statuses {
            Ok(statuses) => (statuses, None),
            Err(unread) => (Vec::new(), Some(unread)),
        };
        let mut statuses: HashMap<DeviceId, _> = statuses
            .into_iter()
            .map(|(entry, json)| (entry.device.clone(), (entry, json)))
            .collect();
        for facts in &mut self.devices {
            facts.status = statuses.remove(facts.device.as_str());
        }
        self.tell_schemas(&strangers);
        match failed {
            Some(unread) => self.fail(unread.text("get_status")),
            None => {
                self.tell_statuses();
                Ok(())
            }
        }
    }

    fn tell_schemas(&mut self, strangers: &[String]) {
        let mut lines = Vec::new();
        if !strangers.is_empty() {
            let strangers = advice::list(strangers);
            lines.push(format!(
                "schemas of devices that were not asked for: {strangers}"
            ));
        }
        let mut points = 0;
        for facts in &self.devices {
            match &facts.schema {
                None => lines.push(format!("{}: no schema came", facts.device)),
                Some((schema, _)) => points += schema.functions().len() + schema.statuses().len(),
            }
            let found = facts.oddities();
            lines.extend(found.iter().map(|text| format!("{}: {text}", facts.device)));
        }
        let read = format!(
            "{} in {}",
            plural(points, "declaration"),
            plural(self.devices.len(), "device")
        );
        if lines.is_empty() {
            return self.pass(format!("{read}, nothing odd"));
        }
        let count = lines.len();
        if count > LISTED_MAX {
            lines.truncate(LISTED_MAX);
            lines.push(format!("and {} more", count - LISTED_MAX));
        }
        let odd = match count {
            1 => "1 oddity".to_owned(),
            count => format!("{count} oddities"),
        };
        self.warn(format!(
            "{read}, {odd} (shown and kept as they are, none of them is a fault):\n{}",
            lines.join("\n")
        ));
    }

    fn tell_statuses(&mut self) {
        let (mut values, mut offline) = (0, 0);
        let mut missing = Vec::new();
        for facts in &self.devices {
            match &facts.status {
                None => missing.push(facts.device.to_string()),
                Some((status, _)) => {
                    values += status.readings.len();
                    offline += usize::from(!status.online);
                }
            }
        }
        let devices = plural(self.devices.len(), "device");
        let text = match offline {
            0 => format!("{} of {devices}, all online", plural(values, "value")),
            _ => format!(
                "{} of {devices}, {offline} offline",
                plural(values, "value")
            ),
        };
        match missing.as_slice() {
            [] => self.pass(text),
            missing => self.warn(format!(
                "{text}; no status came of {}",
                advice::list(missing)
            )),
        }
    }
}

/// Reads the device list.
pub(crate) async fn read_devices(
    session: &mut Session,
    deadline: Instant,
) -> Result<Vec<DeviceId>, Unread> {
    let outcome = session.ask(&Request::GetDevices, deadline).await;
    let result = outcome.map_err(Unread::Fault)?;
    let result = result.map_err(|error| Unread::Answer(format!("refused with {error}")))?;
    parse_devices(&result).map_err(|error| Unread::Answer(error.to_string()))
}

/// Reads something of each device, in slices; gives each element with its text.
pub(crate) async fn sliced<T>(
    session: &mut Session,
    ids: &[DeviceId],
    request: impl Fn(Vec<DeviceId>) -> Request,
    parse: impl Fn(&str) -> Result<Vec<T>, ShapeError>,
    deadline: Instant,
) -> Result<Vec<(T, String)>, Unread> {
    let answer = |error: ShapeError| Unread::Answer(error.to_string());
    let mut all = Vec::with_capacity(ids.len());
    for slice in ids.chunks(DEVICES_PER_REQUEST) {
        let outcome = session.ask(&request(slice.to_vec()), deadline).await;
        let result = outcome.map_err(Unread::Fault)?;
        let result = result.map_err(|error| Unread::Answer(format!("refused with {error}")))?;
        let texts = split_array(&result).map_err(answer)?;
        all.extend(parse(&result).map_err(answer)?.into_iter().zip(texts));
    }
    Ok(all)
}

/// Counts things.
pub(crate) fn plural(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
