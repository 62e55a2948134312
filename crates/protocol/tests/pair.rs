//! Both ends against each other over a hostile link, in virtual time.

#![expect(clippy::disallowed_methods, reason = "virtual time starts somewhere")]

use std::time::{Duration, Instant};

use hearthgate_protocol::connection::{ClientConfig, ClientEvent, GatewayConfig, GatewayEvent};
use hearthgate_protocol::crypto::DeviceKey;
use hearthgate_protocol::error::{Ended, HandshakeFailure, Refuser};
use hearthgate_protocol::pair::Pair;
use hearthgate_protocol::variants::{KeyForm, Padding, Proof, ProofOver, Variants, Wire};
use hearthgate_protocol::wire::{EventKind, Request, write_event, write_success};

fn key() -> DeviceKey {
    DeviceKey::from_bytes(*b"k9Xq2mPz7LwT4vRb")
}

fn pair(seed: u64) -> Pair {
    let client = ClientConfig::new(key(), "gateway");
    Pair::new(GatewayConfig::new(key()), client, seed, Instant::now())
}

fn connected(seed: u64) -> Pair {
    let mut pair = pair(seed);
    pair.exchange();
    assert_eq!(pair.gateway_events, [GatewayEvent::Authenticated]);
    assert_eq!(pair.client_events, [ClientEvent::Authenticated]);
    pair.gateway_events.clear();
    pair.client_events.clear();
    pair
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ended_gateway(pair: &Pair) -> Option<&Ended> {
    pair.gateway_events.iter().find_map(|event| match event {
        GatewayEvent::Ended(ended) => Some(ended),
        _ => None,
    })
}

fn ended_client(pair: &Pair) -> Option<&Ended> {
    pair.client_events.iter().find_map(|event| match event {
        ClientEvent::Ended(ended) => Some(ended),
        _ => None,
    })
}

#[test]
fn every_variant_works_where_both_ends_have_it() {
    let key_text = "00112233445566778899aabbccddeeff";
    for &wire in Wire::ALL {
        for &padding in Padding::ALL {
            for &proof in Proof::ALL {
                for &proof_over in ProofOver::ALL {
                    for &form in KeyForm::ALL {
                        let key = DeviceKey::parse(key_text, form).unwrap();
                        let variants = Variants {
                            padding,
                            proof,
                            proof_over,
                        };
                        let mut gateway = GatewayConfig::new(key.clone());
                        (gateway.wire, gateway.variants) = (wire, variants);
                        let mut client = ClientConfig::new(key, "gateway");
                        (client.variants, client.accept_plain) = (variants, true);
                        let mut pair = Pair::new(gateway, client, 1, Instant::now());
                        pair.exchange();
                        assert!(pair.client.is_authenticated(), "{wire} {variants:?} {form}");
                        assert!(
                            pair.gateway.is_authenticated(),
                            "{wire} {variants:?} {form}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn another_key_or_variant_is_a_failed_authentication_of_both() {
    let check = |change: fn(&mut ClientConfig)| {
        let mut client = ClientConfig::new(key(), "gateway");
        change(&mut client);
        let mut pair = Pair::new(GatewayConfig::new(key()), client, 1, Instant::now());
        pair.run_for(seconds(60));
        assert!(pair.gateway.is_ended() && pair.client.is_ended());
        let ended = ended_client(&pair).unwrap();
        assert!(matches!(ended, Ended::Authentication { .. }), "{ended:?}");
    };
    check(|client| client.access = DeviceKey::from_bytes([1; 16]).into());
    check(|client| client.variants.proof = Proof::Sha256);
    check(|client| client.variants.proof_over = ProofOver::Base64);
    check(|client| client.wire = Some(Wire::Base64));
}

#[test]
fn who_refused_whom_is_told() {
    // With the proof of another kind the client's message decrypts: the gateway finds out.
    let mut client = ClientConfig::new(key(), "gateway");
    client.variants.proof = Proof::Sha256;
    let mut pair = Pair::new(GatewayConfig::new(key()), client, 1, Instant::now());
    pair.run_for(seconds(1));
    assert!(matches!(
        pair.gateway_events[..],
        [GatewayEvent::AuthenticationFailed(HandshakeFailure::Fault(
            _
        ))]
    ));
    let refused = Ended::Authentication {
        by: Refuser::Peer,
        detail: HandshakeFailure::Closed,
    };
    assert_eq!(ended_client(&pair), Some(&refused));
}

#[test]
fn a_silent_gateway_in_the_handshake_is_given_up_after_10_s() {
    let mut pair = pair(1);
    pair.to_client.stalled = true;
    pair.run_for(seconds(10) - Duration::from_millis(1));
    assert!(!pair.client.is_ended());
    pair.run_for(Duration::from_millis(1));
    assert_eq!(ended_client(&pair), Some(&Ended::HandshakeTimeout));
}

#[test]
fn a_silent_client_in_the_handshake_is_given_up_after_10_s() {
    for behind_upgrade in [false, true] {
        let mut pair = pair(1);
        pair.to_gateway.stalled = !behind_upgrade;
        // The upgrade gets through, the answer to `auth_required` does not.
        pair.to_client.stalled = behind_upgrade;
        pair.exchange();
        pair.to_gateway.stalled = true;
        pair.to_client.stalled = false;
        pair.run_for(seconds(10) - Duration::from_millis(1));
        assert!(!pair.gateway.is_ended());
        pair.run_for(Duration::from_millis(1));
        assert_eq!(ended_gateway(&pair), Some(&Ended::HandshakeTimeout));
    }
}

#[test]
fn a_dribbling_peer_does_not_buy_time() {
    let mut pair = pair(1);
    pair.to_gateway.stalled = true;
    pair.exchange();
    for byte in b"GET / HTTP/1.1\r\n" {
        pair.gateway.handle_input(pair.now(), &[*byte]);
        pair.run_for(seconds(1));
    }
    assert_eq!(ended_gateway(&pair), Some(&Ended::HandshakeTimeout));
}

#[test]
fn an_idle_connection_is_kept_alive_by_pings() {
    let mut pair = connected(1);
    pair.run_for(seconds(24 * 3600));
    assert!(pair.client.is_authenticated() && pair.gateway.is_authenticated());
    assert_eq!(
        (pair.client_events.len(), pair.gateway_events.len()),
        (0, 0)
    );
}

#[test]
fn silence_is_pinged_after_15_s_and_ended_after_45_s() {
    let mut pair = connected(1);
    pair.to_client.stalled = true;
    pair.to_gateway.stalled = true;
    let check = |pair: &mut Pair, time: Duration, pings: usize| {
        pair.run_for(time);
        // An empty ping is 2 bytes, with a mask 6.
        let sent = (pair.to_client.in_flight(), pair.to_gateway.in_flight());
        assert_eq!(sent, (2 * pings, 6 * pings));
    };
    check(&mut pair, seconds(15) - Duration::from_millis(1), 0);
    check(&mut pair, Duration::from_millis(1), 1);
    check(&mut pair, seconds(15) - Duration::from_millis(1), 1);
    check(&mut pair, Duration::from_millis(1), 2);
    check(&mut pair, seconds(15) - Duration::from_millis(1), 2);
    assert!(!pair.client.is_ended() && !pair.gateway.is_ended());
    pair.run_for(Duration::from_millis(1));
    assert_eq!(ended_client(&pair), Some(&Ended::Silent));
    assert_eq!(ended_gateway(&pair), Some(&Ended::Silent));
}

#[test]
fn the_end_of_one_side_is_the_end_of_the_other() {
    let mut pair = connected(1);
    pair.client.close(1000, "done");
    pair.exchange();
    assert_eq!(ended_client(&pair), Some(&Ended::Local("done".to_owned())));
    let told = Ended::Peer {
        code: Some(1000),
        reason: "done".to_owned(),
    };
    assert_eq!(ended_gateway(&pair), Some(&told));

    let mut pair = connected(2);
    pair.gateway.close(1001, "shutting down");
    pair.exchange();
    let told = Ended::Peer {
        code: Some(1001),
        reason: "shutting down".to_owned(),
    };
    assert_eq!(ended_client(&pair), Some(&told));

    let mut pair = connected(3);
    pair.cut();
    pair.exchange();
    assert_eq!(ended_client(&pair), Some(&Ended::Lost));
    assert_eq!(ended_gateway(&pair), Some(&Ended::Lost));
}

#[test]
fn however_the_link_splits_and_delays_both_ends_agree() {
    for seed in 0..300 {
        let mut pair = pair(seed);
        for link in [&mut pair.to_client, &mut pair.to_gateway] {
            link.delay = Duration::from_millis(300);
            link.split = true;
            link.capacity = 700;
        }
        pair.run_for(seconds(9));
        assert!(
            pair.client.is_authenticated() && pair.gateway.is_authenticated(),
            "{seed}"
        );
        // Both directions at once: numbered requests one way, numbered events the other.
        for id in 1..=30 {
            pair.client.send_request(id, &Request::GetDevices);
            let mut json = Vec::new();
            let kind = EventKind::RegistryUpdated {
                device: "a".into(),
                state: id,
            };
            write_event(&mut json, id, &kind);
            pair.gateway.send(&json);
            pair.run_for(Duration::from_millis(seed % 50));
        }
        pair.run_for(seconds(30));
        let asked = pair.gateway_events.iter().filter_map(|event| match event {
            GatewayEvent::Request { id, .. } => Some(*id),
            _ => None,
        });
        assert!(asked.eq(1..=30), "{seed}");
        let told = pair.client_events.iter().filter_map(|event| match event {
            ClientEvent::Event { event, .. } => Some(event.id),
            _ => None,
        });
        assert!(told.eq(1..=30), "{seed}");
        for id in 1..=30 {
            let mut json = Vec::new();
            write_success(&mut json, id);
            pair.gateway.send(&json);
        }
        pair.client_events.clear();
        pair.run_for(seconds(30));
        assert_eq!(pair.client_events.len(), 30, "{seed}");
    }
}

#[test]
fn wherever_the_link_is_cut_or_stalls_both_ends_end_and_say_why() {
    for seed in 0..300u64 {
        let mut pair = pair(seed);
        pair.to_client.delay = Duration::from_millis(100);
        pair.to_gateway.delay = Duration::from_millis(100);
        pair.to_client.split = true;
        pair.to_gateway.split = true;
        pair.run_for(Duration::from_millis(seed * 3));
        match seed % 3 {
            0 => pair.cut(),
            1 => pair.to_client.stalled = true,
            _ => pair.to_gateway.stalled = true,
        }
        pair.run_for(seconds(120));
        assert!(
            pair.client.is_ended() || seed % 3 == 2,
            "{seed}: {:?}",
            pair.client_events
        );
        // The one that still hears and is heard by nobody may see the other's close only.
        pair.to_client.stalled = false;
        pair.to_gateway.stalled = false;
        pair.run_for(seconds(1));
        assert!(pair.client.is_ended() && pair.gateway.is_ended(), "{seed}");
        let client_ends = pair
            .client_events
            .iter()
            .filter(|e| matches!(e, ClientEvent::Ended(_)));
        assert_eq!(client_ends.count(), 1, "{seed}");
        assert_eq!(pair.client.poll_timeout(), None);
        assert_eq!(pair.gateway.poll_timeout(), None);
    }
}

#[test]
fn ten_thousand_pipelined_requests_are_answered_in_order() {
    let mut pair = connected(7);
    pair.to_gateway.split = true;
    pair.to_gateway.capacity = 65_536;
    for id in 1..=10_000 {
        pair.client.send_request(id, &Request::GetDevices);
    }
    pair.exchange();
    let mut json = Vec::new();
    for event in std::mem::take(&mut pair.gateway_events) {
        let GatewayEvent::Request { id, .. } = event else {
            panic!("{event:?}")
        };
        json.clear();
        write_success(&mut json, id);
        pair.gateway.send(&json);
    }
    pair.exchange();
    let answered = pair.client_events.iter().filter_map(|event| match event {
        ClientEvent::Reply { id, outcome: Ok(_) } => Some(*id),
        _ => None,
    });
    assert!(answered.eq(1..=10_000));
}
