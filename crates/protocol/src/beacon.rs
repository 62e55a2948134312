//! The advertisement: ours, and the same inside the vendor's two LAN broadcast frames (section 7).
//!
//! A packet is a hint and no proof: whoever answers there must still pass the handshake.

use md5::{Digest, Md5};
use serde_json::value::RawValue;

use crate::crypto::{Decryptor, Encryptor};
use crate::limits::{BEACON_PACKET_MAX, UUID_MAX};
use crate::variants::Padding;
use crate::wire::read_beacon;

/// The text whose MD5 is the well-known key of the vendor's encrypted broadcast.
const VENDOR_KEY_TEXT: &[u8] = b"yGAdlopoPVldABfn";
const FRAME_PREFIX: [u8; 4] = [0, 0, 0x55, 0xaa];
const FRAME_SUFFIX: [u8; 4] = [0, 0, 0xaa, 0x55];
/// Prefix, sequence number, command, length.
const FRAME_HEAD: usize = 16;
/// Checksum and suffix.
const FRAME_TAIL: usize = 8;
/// The command of the plain broadcast.
const COMMAND_PLAIN: u32 = 0x00;
/// The command of the encrypted broadcast.
const COMMAND_ENCRYPTED: u32 = 0x13;

/// What a gateway advertises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// The gateway's uuid: 1 to 64 printable ASCII characters, opaque.
    pub uuid: String,
    /// Its WebSocket port.
    pub port: u16,
}

/// How an advertisement was wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeaconFrame {
    /// Bare JSON.
    Json,
    /// The vendor's frame with JSON in clear, on port 6666.
    VendorPlain,
    /// The vendor's frame with encrypted JSON, on port 6667.
    VendorEncrypted,
}

impl BeaconFrame {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Json, Self::VendorPlain, Self::VendorEncrypted];

    /// Returns the name for lists and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::VendorPlain => "vendor-plain",
            Self::VendorEncrypted => "vendor-encrypted",
        }
    }
}

/// Why a packet is no advertisement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeaconError {
    /// Longer than any advertisement.
    #[error("a packet of {0} bytes, the limit is {BEACON_PACKET_MAX}")]
    TooLong(usize),
    /// Neither JSON nor one of the vendor's frames.
    #[error("neither JSON nor a broadcast frame")]
    NoFrame,
    /// JSON, but no uuid and port.
    #[error("{0}")]
    Content(String),
}

/// Tells whether a text can be a gateway's uuid.
pub fn is_valid_uuid(uuid: &str) -> bool {
    (1..=UUID_MAX).contains(&uuid.len()) && uuid.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

impl Beacon {
    /// Makes the packet.
    pub fn encode(&self, frame: BeaconFrame) -> Vec<u8> {
        let mut json = b"{\"uuid\":".to_vec();
        crate::model::write_string(&mut json, &self.uuid);
        json.extend_from_slice(format!(",\"port\":{}}}", self.port).as_bytes());
        match frame {
            BeaconFrame::Json => json,
            BeaconFrame::VendorPlain => wrap(COMMAND_PLAIN, &json),
            BeaconFrame::VendorEncrypted => {
                Encryptor::new(&vendor_key(), Padding::Pkcs7).encrypt_tail(&mut json, 0);
                wrap(COMMAND_ENCRYPTED, &json)
            }
        }
    }

    /// Reads a packet, however it is wrapped.
    ///
    /// The checksum of the vendor's frames is not looked at: UDP has its own, and it proves nothing.
    ///
    /// # Errors
    /// Where the packet is no advertisement.
    pub fn decode(packet: &[u8]) -> Result<(Self, BeaconFrame), BeaconError> {
        if packet.len() > BEACON_PACKET_MAX {
            return Err(BeaconError::TooLong(packet.len()));
        }
        let Some(payload) = unwrap_frame(packet) else {
            let first = packet.iter().find(|byte| !byte.is_ascii_whitespace());
            return match first {
                Some(b'{') => Ok((read(packet)?, BeaconFrame::Json)),
                _ => Err(BeaconError::NoFrame),
            };
        };
        // Some senders put a return code of four bytes in front.
        let candidates = [Some(payload), payload.strip_prefix(&[0; 4])];
        // A ciphertext may begin like JSON: what is no advertisement in clear may yet be one encrypted.
        let mut fault = BeaconError::NoFrame;
        for candidate in candidates.into_iter().flatten() {
            if candidate.first() == Some(&b'{') {
                match read(candidate) {
                    Ok(beacon) => return Ok((beacon, BeaconFrame::VendorPlain)),
                    Err(error) => fault = error,
                }
            }
        }
        for candidate in candidates.into_iter().flatten() {
            let mut cipher = candidate.to_vec();
            let decryptor = Decryptor::new(&vendor_key(), Padding::Pkcs7);
            if let Ok(json) = decryptor.decrypt(&mut cipher) {
                match read(json) {
                    Ok(beacon) => return Ok((beacon, BeaconFrame::VendorEncrypted)),
                    Err(error) => fault = error,
                }
            }
        }
        Err(fault)
    }
}

fn read(json: &[u8]) -> Result<Beacon, BeaconError> {
    let content = |problem: &str| BeaconError::Content(problem.to_owned());
    let text = std::str::from_utf8(json).map_err(|_| content("not UTF-8"))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| content("no JSON"))?;
    let (uuid, port) = read_beacon(raw).map_err(|error| BeaconError::Content(error.to_string()))?;
    if !is_valid_uuid(&uuid) {
        return Err(content(
            "the uuid is not 1 to 64 printable ASCII characters",
        ));
    }
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| content("the port is not 1 to 65535"))?;
    Ok(Beacon { uuid, port })
}

fn vendor_key() -> [u8; 16] {
    Md5::digest(VENDOR_KEY_TEXT).into()
}

fn wrap(command: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + FRAME_TAIL).unwrap_or(u32::MAX);
    let mut packet = FRAME_PREFIX.to_vec();
    packet.extend_from_slice(&0u32.to_be_bytes());
    packet.extend_from_slice(&command.to_be_bytes());
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(payload);
    packet.extend_from_slice(&crc32(&packet).to_be_bytes());
    packet.extend_from_slice(&FRAME_SUFFIX);
    packet
}

fn unwrap_frame(packet: &[u8]) -> Option<&[u8]> {
    let inner = packet
        .strip_prefix(&FRAME_PREFIX)?
        .strip_suffix(&FRAME_SUFFIX)?;
    let (_, inner) = inner.split_at_checked(FRAME_HEAD - FRAME_PREFIX.len())?;
    let end = inner.len().checked_sub(FRAME_TAIL - FRAME_SUFFIX.len())?;
    inner.get(..end)
}

/// CRC-32 as in zlib, bit by bit: one short packet in five seconds needs no table.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 0 {
                crc >> 1
            } else {
                crc >> 1 ^ 0xedb8_8320
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beacon() -> Beacon {
        Beacon {
            uuid: "hg-0123 \"x\"".to_owned(),
            port: 8433,
        }
    }

    #[test]
    fn every_frame_survives() {
        for frame in BeaconFrame::ALL {
            assert_eq!(
                Beacon::decode(&beacon().encode(frame)),
                Ok((beacon(), frame))
            );
        }
        assert_eq!(
            Beacon {
                uuid: "a".to_owned(),
                port: 1
            }
            .encode(BeaconFrame::Json),
            b"{\"uuid\":\"a\",\"port\":1}"
        );
    }

    #[test]
    fn a_ciphertext_that_begins_like_json_is_decrypted() {
        let beacon = Beacon {
            uuid: "\":&?%:".to_owned(),
            port: 1,
        };
        let packet = beacon.encode(BeaconFrame::VendorEncrypted);
        assert_eq!(packet[FRAME_HEAD], b'{');
        assert_eq!(
            Beacon::decode(&packet),
            Ok((beacon, BeaconFrame::VendorEncrypted))
        );
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_vendors_field_names_and_return_code_are_understood() {
        let json = b"{\"ip\":\"1.2.3.4\",\"gwId\":\"abc\",\"ws_port\":9000,\"x\":{}}";
        let expected = Beacon {
            uuid: "abc".to_owned(),
            port: 9000,
        };
        assert_eq!(
            Beacon::decode(json),
            Ok((expected.clone(), BeaconFrame::Json))
        );
        let mut with_code = vec![0; 4];
        with_code.extend_from_slice(json);
        assert_eq!(
            Beacon::decode(&wrap(COMMAND_PLAIN, &with_code)),
            Ok((expected, BeaconFrame::VendorPlain))
        );
    }

    #[test]
    fn whatever_else_is_dropped() {
        let long = format!("{{\"uuid\":\"{}\",\"port\":1}}", "a".repeat(65));
        for packet in [
            &b""[..],
            b"hello",
            b"{",
            b"[]",
            b"{\"uuid\":\"a\"}",
            b"{\"port\":1}",
            b"{\"uuid\":\"\",\"port\":1}",
            b"{\"uuid\":\"a\",\"port\":0}",
            b"{\"uuid\":\"a\",\"port\":65536}",
            b"{\"uuid\":\"a\",\"port\":\"1\"}",
            b"{\"uuid\":7,\"port\":1}",
            b"{\"uuid\":\"\xff\",\"port\":1}",
            long.as_bytes(),
            &FRAME_PREFIX,
            &wrap(COMMAND_ENCRYPTED, b"0123456789abcdef"),
            &[b' '; BEACON_PACKET_MAX + 1],
            "{\"uuid\":\"ü\",\"port\":1}".as_bytes(),
        ] {
            assert!(
                Beacon::decode(packet).is_err(),
                "{}",
                String::from_utf8_lossy(packet)
            );
        }
    }
}
