//! Any packet: what is taken as an advertisement is one, by whatever frame it comes (section 7).
//!
//! Input: the packet itself.

use hearthgate_protocol::beacon::{Beacon, BeaconError, BeaconFrame, is_valid_uuid};
use hearthgate_protocol::crypto::Encryptor;
use hearthgate_protocol::limits::BEACON_PACKET_MAX;
use hearthgate_protocol::variants::Padding;

/// `md5("yGAdlopoPVldABfn")`, the well-known key of section 7.
const VENDOR_KEY: [u8; 16] = [
    0x6c, 0x1e, 0xc8, 0xe2, 0xbb, 0x9b, 0xb5, 0x9a, 0xb5, 0x0b, 0x0d, 0xaf, 0x64, 0x9b, 0x41, 0x0a,
];

/// Runs the target.
///
/// # Panics
/// Where a property does not hold.
pub fn run(packet: &[u8]) {
    let used = allocation_counter::measure(|| {
        let _ = Beacon::decode(packet);
    });
    // Bounded whatever comes: a few copies of one packet, and an error's text.
    let peak = usize::try_from(used.bytes_max).unwrap_or(0);
    assert!(
        peak <= 4 * BEACON_PACKET_MAX,
        "{peak} bytes of memory for one packet"
    );

    let decoded = Beacon::decode(packet);
    match &decoded {
        Ok((beacon, frame)) => {
            assert!(packet.len() <= BEACON_PACKET_MAX);
            check(beacon);
            if *frame == BeaconFrame::Json {
                means(packet, beacon);
            }
        }
        Err(BeaconError::TooLong(length)) => {
            assert!(*length == packet.len() && *length > BEACON_PACKET_MAX);
        }
        Err(error) => {
            assert!(packet.len() <= BEACON_PACKET_MAX);
            assert!(
                error.to_string().len() < 512,
                "an error as long as what caused it"
            );
        }
    }
    wrapped(packet, &decoded);
    damaged(packet);
}

/// An advertisement is valid and survives every frame.
fn check(beacon: &Beacon) {
    assert!(is_valid_uuid(&beacon.uuid) && beacon.port > 0, "{beacon:?}");
    for frame in BeaconFrame::ALL {
        let packet = beacon.encode(frame);
        assert!(packet.len() <= BEACON_PACKET_MAX);
        assert_eq!(Beacon::decode(&packet), Ok((beacon.clone(), frame)));
    }
}

/// The uuid and the port are those of the JSON, by another reader.
fn means(packet: &[u8], beacon: &Beacon) {
    // Half a surrogate pair or a huge number beside it stops only the other reader.
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(packet) else {
        return;
    };
    let first = |names: &[&str]| {
        let mut found = names.iter().map(|name| &json[*name]);
        found
            .find(|value| !value.is_null())
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(
        first(&["uuid", "gwId", "devId"]).as_str(),
        Some(&*beacon.uuid)
    );
    assert_eq!(
        first(&["port", "ws_port"]).as_i64(),
        Some(i64::from(beacon.port))
    );
}

/// The same content inside the vendor's frames is understood the same.
fn wrapped(packet: &[u8], decoded: &Result<(Beacon, BeaconFrame), BeaconError>) {
    for code in [&[][..], &[0; 4]] {
        let mut cipher = packet.to_vec();
        Encryptor::new(&VENDOR_KEY, Padding::Pkcs7).encrypt_tail(&mut cipher, 0);
        for (content, frame) in [
            (packet, BeaconFrame::VendorPlain),
            (&cipher, BeaconFrame::VendorEncrypted),
        ] {
            let whole = [
                &[0, 0, 0x55, 0xaa],
                &[0; 12][..],
                code,
                content,
                &[1; 4],
                &[0, 0, 0xaa, 0x55],
            ]
            .concat();
            let result = Beacon::decode(&whole);
            if let Ok((beacon, _)) = &result {
                check(beacon);
            }
            if let Ok((beacon, BeaconFrame::Json)) = decoded
                && packet.starts_with(b"{")
                && whole.len() <= BEACON_PACKET_MAX
            {
                assert_eq!(result, Ok((beacon.clone(), frame)));
            }
        }
    }
}

/// One wrong bit makes it another valid advertisement or none.
fn damaged(packet: &[u8]) {
    let (Some(last), 1..=256) = (packet.last(), packet.len()) else {
        return;
    };
    let mut packet = packet.to_vec();
    let place = usize::from(*last) % packet.len();
    packet[place] ^= 1 << (last % 8);
    if let Ok((beacon, _)) = Beacon::decode(&packet) {
        check(&beacon);
    }
}
