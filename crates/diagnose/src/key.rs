//! A key in both shapes that a session needs which is taken apart.

use hearthgate_protocol::crypto::{DeviceKey, KeyError, KeyText};
use hearthgate_protocol::variants::KeyForm;
use zeroize::Zeroizing;

/// A key in a form.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) device: DeviceKey,
    pub(crate) bytes: Zeroizing<[u8; 16]>,
}

impl Key {
    /// Makes what stands for a key where none is used: in the older dialect.
    pub(crate) fn unused() -> Self {
        Self {
            device: DeviceKey::from_bytes([0; 16]),
            bytes: Zeroizing::new([0; 16]),
        }
    }

    /// Reads the text of a key in a form.
    pub(crate) fn of(text: &KeyText, form: KeyForm) -> Result<Self, KeyError> {
        let bytes = text.bytes(form)?;
        Ok(Self {
            device: DeviceKey::from_bytes(*bytes),
            bytes,
        })
    }
}
