//! The answers for many devices: as the gateway makes them, and the same written once by serde_json.
//!
//! The peer is as fast as serde_json can be: `#[derive(Serialize)]` on structs that borrow all text from
//! the same devices and are made beforehand; values and declarations are `RawValue`s, copied as they are.
//! The gateway does more in its time: it looks every device up by the id that was asked for.

use hearthgate_gateway::{GatewayOptions, Registry, StreamGateway};
use hearthgate_protocol::model::{DataPoint, Device, DeviceId, Value};
use hearthgate_protocol::wire::Request;
use hearthgate_testkit::{HandDriver, test_key};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::runtime::Runtime;

use super::house;

/// A gateway of many devices, and the requests for all of them.
pub(crate) struct Answers {
    registry: Registry,
    status: Request,
    schema: Request,
    devices: Vec<Device>,
    out: Vec<u8>,
    /// Keep the gateway alive.
    _gateway: (Runtime, StreamGateway),
}

impl Answers {
    pub(crate) fn new(count: usize) -> Self {
        let devices = house::devices(count);
        let ids: Vec<DeviceId> = devices.iter().map(|device| device.id().clone()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let (driver, _) = HandDriver::new(devices.clone());
        let gateway = {
            let _context = runtime.enter();
            let options = GatewayOptions::new("bench", test_key());
            StreamGateway::start(options, vec![Box::new(driver)]).expect("no device is there twice")
        };
        Self {
            registry: gateway.registry().clone(),
            status: Request::GetStatus(ids.clone()),
            schema: Request::GetSchema(ids),
            devices,
            out: Vec::new(),
            _gateway: (runtime, gateway),
        }
    }

    /// Returns the gateway's answer to `get_status` of all devices.
    pub(crate) fn status(&mut self) -> &[u8] {
        self.out.clear();
        self.registry.answer_reading(1, &self.status, &mut self.out);
        &self.out
    }

    /// Returns the gateway's answer to `get_schema` of all devices.
    pub(crate) fn schema(&mut self) -> &[u8] {
        self.out.clear();
        self.registry.answer_reading(1, &self.schema, &mut self.out);
        &self.out
    }

    /// Returns the devices, for the peers.
    pub(crate) fn devices(&self) -> Vec<Device> {
        self.devices.clone()
    }
}

/// An answer as serde_json knows it.
#[derive(Serialize)]
pub(crate) struct Peer<T> {
    id: i64,
    r#type: &'static str,
    success: bool,
    result: Vec<T>,
}

#[derive(Serialize)]
pub(crate) struct Status<'a> {
    devid: &'a str,
    online: bool,
    value: Vec<Pair<'a>>,
}

#[derive(Serialize)]
pub(crate) struct Pair<'a> {
    k: &'a str,
    v: Plain,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Plain {
    Bool(bool),
    Integer(i64),
    Other(Box<RawValue>),
}

#[derive(Serialize)]
pub(crate) struct Schema<'a> {
    devid: &'a str,
    category: &'a str,
    function: Vec<Point<'a>>,
    status: Vec<Point<'a>>,
}

#[derive(Serialize)]
pub(crate) struct Point<'a> {
    code: &'a str,
    r#type: &'a str,
    values: Box<RawValue>,
}

/// Makes the peer of the answer to `get_status`.
pub(crate) fn status_peer(devices: &[Device]) -> Peer<Status<'_>> {
    peer(devices, |device| Status {
        devid: device.id().as_str(),
        online: device.online(),
        value: device
            .points()
            .iter()
            .map(|point| Pair {
                k: point.code.as_str(),
                v: match (point.value.as_bool(), point.value.as_i64()) {
                    (Some(value), _) => Plain::Bool(value),
                    (_, Some(number)) => Plain::Integer(number),
                    _ => Plain::Other(raw(&point.value)),
                },
            })
            .collect(),
    })
}

/// Makes the peer of the answer to `get_schema`.
pub(crate) fn schema_peer(devices: &[Device]) -> Peer<Schema<'_>> {
    let point = |point: &'_ DataPoint| raw(point.values());
    fn points<'a>(
        points: &'a [DataPoint],
        values: impl Fn(&DataPoint) -> Box<RawValue>,
    ) -> Vec<Point<'a>> {
        let point = |point: &'a DataPoint| Point {
            code: point.code().as_str(),
            r#type: point.type_name(),
            values: values(point),
        };
        points.iter().map(point).collect()
    }
    peer(devices, |device| Schema {
        devid: device.id().as_str(),
        category: device.schema().category(),
        function: points(device.schema().functions(), point),
        status: points(device.schema().statuses(), point),
    })
}

fn peer<'a, T>(devices: &'a [Device], entry: impl Fn(&'a Device) -> T) -> Peer<T> {
    Peer {
        id: 1,
        r#type: "result",
        success: true,
        result: devices.iter().map(entry).collect(),
    }
}

fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.json().into_owned()).expect("a value is JSON")
}

impl<T: Serialize> Peer<T> {
    /// Serialises it into an empty buffer.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        serde_json::to_writer(out, self).expect("a `Vec` takes everything");
    }
}
