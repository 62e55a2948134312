//! The results of requests, as a client reads them.

use serde_json::value::RawValue;

use super::decode::readings;
use super::shape::{
    ShapeError, each, fields, fields_and_nulls, integer, items, required, string, truth,
};
use crate::model::{DataPoint, DeviceId, Reading, Schema, Value};

/// One element of the answer to `get_schema`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaEntry {
    /// Which device.
    pub device: DeviceId,
    /// What it declares.
    pub schema: Schema,
}

/// One element of the answer to `get_status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusEntry {
    /// Which device.
    pub device: DeviceId,
    /// Whether the gateway reaches it.
    pub online: bool,
    /// Its values.
    pub readings: Vec<Reading>,
}

/// Reads the answer to `get_devices`: an array of device ids.
///
/// # Errors
/// Where the answer is of another shape.
pub fn parse_devices(result: &str) -> Result<Vec<DeviceId>, ShapeError> {
    whole(result, |raw| {
        each(raw, |item| string(item).map(|id| DeviceId::from(&*id)))
    })
}

/// Reads the answer to `get_schema`.
///
/// # Errors
/// Where the answer is of another shape.
pub fn parse_schemas(result: &str) -> Result<Vec<SchemaEntry>, ShapeError> {
    whole(result, |raw| each(raw, schema_entry))
}

/// Reads the answer to `get_status`.
///
/// # Errors
/// Where the answer is of another shape.
pub fn parse_statuses(result: &str) -> Result<Vec<StatusEntry>, ShapeError> {
    whole(result, |raw| each(raw, status_entry))
}

/// Returns the JSON texts of the elements of an array, to the byte as they came.
///
/// # Errors
/// Where the text is no array.
pub fn split_array(result: &str) -> Result<Vec<String>, ShapeError> {
    whole(result, |raw| {
        Ok(items(raw)?
            .into_iter()
            .map(|item| item.get().to_owned())
            .collect())
    })
}

fn whole<T>(
    result: &str,
    read: impl FnOnce(&RawValue) -> Result<T, ShapeError>,
) -> Result<T, ShapeError> {
    // A success without a result counts as an empty one.
    let raw: &RawValue = serde_json::from_str(if result.is_empty() { "[]" } else { result })
        .map_err(|error| ShapeError::new(RawValue::NULL, format!("cannot be read: {error}")))?;
    read(raw).map_err(|error| error.under("result"))
}

/// Reads `{devid, category, function, status}`; the seed's table once calls `function` `functions`.
pub(super) fn schema_entry(raw: &RawValue) -> Result<SchemaEntry, ShapeError> {
    let [devid, category, function, functions, status] = fields(
        raw,
        &["devid", "category", "function", "functions", "status"],
    )?
    .found;
    let device = required(raw, devid, "devid")?;
    let device = string(device).map_err(|error| error.under("devid"))?;
    let schema = schema(category, function.or(functions), status)?;
    Ok(SchemaEntry {
        device: (&*device).into(),
        schema,
    })
}

/// Reads the three fields that make a schema.
pub(super) fn schema(
    category: Option<&RawValue>,
    function: Option<&RawValue>,
    status: Option<&RawValue>,
) -> Result<Schema, ShapeError> {
    let category = category
        .map(string)
        .transpose()
        .map_err(|error| error.under("category"))?;
    let points = |raw: Option<&RawValue>, name: &str| match raw {
        Some(raw) => each(raw, data_point).map_err(|error| error.under(name)),
        None => Ok(Vec::new()),
    };
    let function = points(function, "function")?;
    let status = points(status, "status")?;
    let category = category.unwrap_or_default();
    Ok(Schema::new(&category, function, status))
}

fn data_point(raw: &RawValue) -> Result<DataPoint, ShapeError> {
    // `values` is kept whatever it is, even null.
    let [code, kind, values] = fields_and_nulls(raw, &["code", "type", "values"])?.found;
    let kind = kind.filter(|kind| kind.get() != "null");
    let code = required(raw, code, "code")?;
    let code = string(code).map_err(|error| error.under("code"))?;
    let kind = kind
        .map(string)
        .transpose()
        .map_err(|error| error.under("type"))?;
    let values = values.map_or_else(|| Value::from("{}"), Value::from_raw);
    Ok(DataPoint::new(&*code, &kind.unwrap_or_default(), values))
}

pub(super) fn status_entry(raw: &RawValue) -> Result<StatusEntry, ShapeError> {
    let [devid, online, value] = fields(raw, &["devid", "online", "value"])?.found;
    let device = required(raw, devid, "devid")?;
    let device = string(device).map_err(|error| error.under("devid"))?;
    let online = required(raw, online, "online")
        .and_then(|online| truth(online).map_err(|error| error.under("online")))?;
    let readings = value.map(readings).transpose()?.unwrap_or_default();
    Ok(StatusEntry {
        device: (&*device).into(),
        online,
        readings,
    })
}

/// Reads the uuid and the port of an advertisement, by any of their names (section 7).
pub(crate) fn read_beacon(raw: &RawValue) -> Result<(String, i64), ShapeError> {
    let [uuid, gw_id, dev_id, port, ws_port] =
        fields(raw, &["uuid", "gwId", "devId", "port", "ws_port"])?.found;
    let uuid = required(raw, uuid.or(gw_id).or(dev_id), "uuid")?;
    let port = required(raw, port.or(ws_port), "port")?;
    let uuid = string(uuid)
        .map_err(|error| error.under("uuid"))?
        .into_owned();
    Ok((uuid, integer(port).map_err(|error| error.under("port"))?))
}
