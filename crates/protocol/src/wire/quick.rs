//! The one message that comes thousands of times a second, `state_changed` as gateways usually write
//! it, read in one pass.
//!
//! Whatever is unusual about a message (another event, an unknown, doubled or missing field, an
//! escape in a name, a wrong type) is left to `decode`, which reads the same meaning, says what is
//! wrong, and takes several passes for it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::message::{Event, EventKind};
use crate::model::{Code, DeviceId, Reading, Value};

/// Reads a message if it is a usual `state_changed`.
pub(super) fn state_changed(text: &str) -> Option<Event> {
    let Object(message) = serde_json::from_str::<Object<Message<'_>>>(text).ok()?;
    if message.kind? != "event" || message.event_type? != "state_changed" {
        return None;
    }
    let Object(data) = message.data?;
    let readings = data.value?.into_iter().map(|Object(item)| {
        Some(Reading {
            code: Code::from(item.code?),
            value: Value::from_raw(item.value?),
        })
    });
    Some(Event {
        id: message.id?,
        kind: EventKind::StateChanged {
            device: DeviceId::from(data.device?),
            readings: readings.collect::<Option<_>>()?,
        },
    })
}

#[derive(Default)]
struct Message<'a> {
    id: Option<i64>,
    kind: Option<&'a str>,
    event_type: Option<&'a str>,
    data: Option<Object<Data<'a>>>,
}

impl<'de> Shape<'de> for Message<'de> {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "id" => once(&mut self.id, map),
            "type" => once(&mut self.kind, map),
            "event_type" => once(&mut self.event_type, map),
            "data" => once(&mut self.data, map),
            _ => Err(unusual()),
        }
    }
}

#[derive(Default)]
struct Data<'a> {
    device: Option<&'a str>,
    value: Option<Vec<Object<Item<'a>>>>,
}

impl<'de> Shape<'de> for Data<'de> {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "devid" => once(&mut self.device, map),
            "value" => once(&mut self.value, map),
            _ => Err(unusual()),
        }
    }
}

#[derive(Default)]
struct Item<'a> {
    code: Option<&'a str>,
    value: Option<&'a RawValue>,
}

impl<'de> Shape<'de> for Item<'de> {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "k" => once(&mut self.code, map),
            "v" => once(&mut self.value, map),
            _ => Err(unusual()),
        }
    }
}

/// The fields of a JSON object. Serde's own derive would take an array in its place.
trait Shape<'de>: Default {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

struct Object<T>(T);

impl<'de, T: Shape<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Shape<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<T>, A::Error> {
        let mut shape = T::default();
        while let Some(name) = map.next_key::<&'de str>()? {
            shape.take(name, &mut map)?;
        }
        Ok(Object(shape))
    }
}

fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    slot: &mut Option<T>,
    map: &mut A,
) -> Result<(), A::Error> {
    match slot.replace(map.next_value()?) {
        None => Ok(()),
        Some(_) => Err(unusual()),
    }
}

/// Leaves the message to `decode`; nobody reads this error.
fn unusual<E: Error>() -> E {
    E::custom("unusual")
}
