//! Messages as JSON: the only place that knows the names of fields and types (sections 5, 6 and 11).
//!
//! Input is the decrypted text of one message, output is appended to a buffer. Reading is lenient
//! where the protocol asks for it (unknown fields, contradictions of the vendor's page), and every
//! refusal names the place in the message.

mod decode;
mod encode;
mod message;
mod profile;
mod quick;
mod reply;
mod scan;
mod shape;
mod token;

pub use decode::{FromClient, FromGateway, decode_from_client, decode_from_gateway};
pub use encode::{
    write_error, write_event, write_request, write_result_devices, write_result_schemas,
    write_result_statuses, write_success,
};
pub use message::{
    DeviceWrite, ErrorBody, ErrorCode, ErrorDetail, Event, EventKind, RemoteError, Request,
};
pub use profile::{Profile, ProfileError, SchemaPool};
pub use reply::{
    SchemaEntry, StatusEntry, parse_devices, parse_schemas, parse_statuses, split_array,
};
pub use shape::ShapeError;

pub(crate) use decode::{HandshakeMessage, decode_handshake};
pub(crate) use encode::{write_auth, write_auth_ok, write_auth_required, write_integer};
pub(crate) use reply::read_beacon;
pub(crate) use token::{parse_tokens, write_tokens};

#[cfg(test)]
mod tests;
