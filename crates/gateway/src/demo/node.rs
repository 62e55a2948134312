//! A device as the gateway sees it: its profile, its values, and what it has yet to report.
//!
//! Values come from the models and from writes; they leave as [`Change`]s, at most one per step. A
//! device out of reach goes on living, and its reports are lost until it comes back with all values.

use hearthgate_protocol::model::{Change, Code, DeviceId, Reading, Value};
use hearthgate_protocol::wire::Profile;

/// One simulated device's visible side.
pub(super) struct Node {
    /// Its `readings` and `online` are the current ones.
    profile: Profile,
    /// Codes to report, in the order in which they changed.
    pending: Vec<Code>,
    /// Codes of the write that is being followed up.
    written: Vec<Code>,
}

impl Node {
    /// Takes an embedded profile.
    #[expect(
        clippy::expect_used,
        reason = "the text is embedded; a test parses all of them"
    )]
    pub(super) fn parse(profile: &str) -> Self {
        Self {
            profile: Profile::parse(profile).expect("an embedded profile is well formed"),
            pending: Vec::new(),
            written: Vec::new(),
        }
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(super) fn id(&self) -> &DeviceId {
        &self.profile.device
    }

    pub(super) fn online(&self) -> bool {
        self.profile.online
    }

    /// Returns a Boolean's value.
    pub(super) fn flag(&self, code: &str) -> bool {
        self.value(code).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Returns the unscaled value of an Integer or a Bitmap.
    pub(super) fn number(&self, code: &str) -> i64 {
        self.value(code).and_then(Value::as_i64).unwrap_or(0)
    }

    /// Tells whether an Enum has this value.
    pub(super) fn is(&self, code: &str, word: &str) -> bool {
        self.value(code)
            .and_then(Value::as_string)
            .is_some_and(|value| value == word)
    }

    /// Tells whether the device has this data point.
    pub(super) fn has(&self, code: &str) -> bool {
        self.value(code).is_some()
    }

    /// Takes a value over and reports it where it is another one. What a write says stands over its
    /// own consequences: while it is followed up, the codes that it names stay as written.
    pub(super) fn set(&mut self, code: &str, value: impl Into<Value>) {
        let value = value.into();
        let held = self.written.iter().any(|written| written.as_str() == code);
        if !held && self.value(code) != Some(&value) {
            self.report(code, value);
        }
    }

    /// Takes a value over and reports it, also where it is the same: a second press of a button.
    pub(super) fn report(&mut self, code: &str, value: impl Into<Value>) {
        let known = self
            .profile
            .readings
            .iter_mut()
            .find(|reading| reading.code.as_str() == code);
        debug_assert!(known.is_some(), "no data point {code}");
        let Some(known) = known else { return };
        known.value = value.into();
        if !self.pending.contains(&known.code) {
            self.pending.push(known.code.clone());
        }
    }

    /// Takes over all that was written; codes that only take writes have no value to show.
    pub(super) fn begin_write(&mut self, readings: &[Reading]) {
        for Reading { code, value } in readings {
            if self.has(code.as_str()) {
                self.report(code.as_str(), value.clone());
                self.written.push(code.clone());
            }
        }
    }

    pub(super) fn end_write(&mut self) {
        self.written.clear();
    }

    /// Returns what is to be reported, if anything; nothing while the device is out of reach.
    pub(super) fn take_report(&mut self) -> Option<Change> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() || !self.profile.online {
            return None;
        }
        let readings = pending
            .into_iter()
            .filter_map(|code| {
                let value = self.value(code.as_str())?.clone();
                Some(Reading { code, value })
            })
            .collect();
        Some(Change::State {
            device: self.profile.device.clone(),
            readings,
        })
    }

    /// Takes the device out of reach.
    pub(super) fn drop_off(&mut self) -> Change {
        self.profile.online = false;
        Change::Online {
            device: self.profile.device.clone(),
            online: false,
            readings: Vec::new(),
        }
    }

    /// Brings the device back with all its values.
    pub(super) fn come_back(&mut self) -> Change {
        self.profile.online = true;
        self.pending.clear();
        Change::Online {
            device: self.profile.device.clone(),
            online: true,
            readings: self.profile.readings.clone(),
        }
    }

    fn value(&self, code: &str) -> Option<&Value> {
        self.profile
            .readings
            .iter()
            .find(|reading| reading.code.as_str() == code)
            .map(|reading| &reading.value)
    }
}
