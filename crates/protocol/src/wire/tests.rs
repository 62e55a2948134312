//! What is taken, what is refused and with which words, message by message.

mod gateway_messages;
mod profiles;
mod requests;

use super::*;
use crate::model::{DeviceId, Reading, Value};

fn reading(code: &str, value: &str) -> Reading {
    Reading::new(code, Value::parse(value).unwrap())
}
