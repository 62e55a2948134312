//! Which options does this gateway take? Against real gateways of every combination.

use std::time::Duration;

use crate::rogue::{Fault, rogue};
use crate::support::{HEX_KEY, KEY, OTHER_KEY, Setting, gateway, impostor, options, says};
use hearthgate_client::Endpoint;
use hearthgate_diagnose::{Accepted, Exploration, ExploreOptions, KeyText, Outcome, examine};
use hearthgate_diagnose::{Options, Target, explore};
use hearthgate_protocol::variants::{KeyForm, Padding, Proof, ProofOver, Variants, Wire};

async fn run(options: &Options) -> Exploration {
    let how = ExploreOptions {
        pause: Duration::ZERO,
    };
    explore(options, &how).await
}

fn with(options: &Options, accepted: &Accepted) -> Options {
    let Target::Address(endpoint) = &options.target else {
        panic!("tests give addresses")
    };
    Options {
        target: Target::Address(endpoint.clone().with_path(&accepted.path).unwrap()),
        key_form: accepted.key_form,
        wire: Some(accepted.wire),
        variants: Variants {
            padding: accepted.padding,
            proof: accepted.proof,
            proof_over: accepted.proof_over,
        },
        ..options.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_combination_is_found_and_works() {
    let mut running = Vec::new();
    for padding in Padding::ALL {
        for key_form in KeyForm::ALL {
            for proof in Proof::ALL {
                for proof_over in ProofOver::ALL {
                    for wire in Wire::ALL {
                        let setting = Setting {
                            key: if *key_form == KeyForm::Hex {
                                HEX_KEY
                            } else {
                                KEY
                            },
                            key_form: *key_form,
                            wire: *wire,
                            variants: Variants {
                                padding: *padding,
                                proof: *proof,
                                proof_over: *proof_over,
                            },
                            path: None,
                        };
                        running.push(tokio::spawn(found_and_works(setting)));
                    }
                }
            }
        }
    }
    assert_eq!(running.len(), 72);
    for one in running {
        one.await.unwrap();
    }
}

async fn found_and_works(setting: Setting) {
    let mut options = options(gateway(setting).await);
    options.key = KeyText::parse(setting.key).unwrap();
    // So many at once are slow on a small machine.
    options.timeout = Duration::from_secs(10);
    let exploration = run(&options).await;
    let found = exploration.found;
    let found = found.unwrap_or_else(|| panic!("{setting:?}: {:#?}", exploration.story));
    assert!(exploration.tried <= 6, "{setting:?}: {}", exploration.tried);
    assert_eq!(found.wire, setting.wire);
    assert_eq!(found.proof, setting.variants.proof, "{setting:?}");
    assert_eq!(found.proof_over, setting.variants.proof_over);
    if setting.wire != Wire::Plain {
        assert_eq!(found.padding, setting.variants.padding);
    }
    // Without encryption and without a key in the proof nothing tells the form.
    if setting.wire != Wire::Plain || setting.variants.proof == Proof::Hmac {
        assert_eq!(found.key_form, setting.key_form);
    }
    let report = examine(&with(&options, &found)).await.report;
    assert!(!report.failed(), "{setting:?}: {report:#?}");
}

#[tokio::test]
async fn a_path_is_looked_for_where_the_upgrade_is_refused() {
    for path in ["/ws", "/api/v1/ws", "/open"] {
        let setting = Setting {
            path: Some(path),
            variants: Variants {
                proof: Proof::Sha256,
                ..Variants::default()
            },
            ..Setting::default()
        };
        let exploration = run(&options(gateway(setting).await)).await;
        assert_eq!(exploration.found.unwrap().path, path);
        assert!(exploration.tried <= 30, "{}", exploration.tried);
    }
}

#[tokio::test]
async fn a_path_of_ones_own_is_tried_first() {
    let setting = Setting {
        path: Some("/a/path/nobody/knows"),
        ..Setting::default()
    };
    let address = gateway(setting).await;
    let mut options = options(address);
    let unknown = run(&options).await;
    assert!(unknown.found.is_none());
    assert!(unknown.tried <= 40, "{}", unknown.tried);
    let endpoint = Endpoint::new("127.0.0.1", address.port()).unwrap();
    let endpoint = endpoint.with_path("/a/path/nobody/knows").unwrap();
    options.target = Target::Address(endpoint);
    let exploration = run(&options).await;
    assert_eq!(exploration.tried, 1);
    assert_eq!(
        exploration.to_json(),
        r#"{"found":true,"options":{"key_form":"ascii","padding":"pkcs7","proof":"hmac","proof_over":"raw","wire":"binary","path":"/a/path/nobody/knows"},"tried":1}"#
    );
    assert_eq!(
        exploration.found.unwrap().to_toml(),
        "key_form = \"ascii\"\npadding = \"pkcs7\"\nproof = \"hmac\"\nproof_over = \"raw\"\nwire = \"binary\"\npath = \"/a/path/nobody/knows\""
    );
}

#[tokio::test]
async fn another_key_is_found_out_by_one_connection() {
    let mut options = options(gateway(Setting::default()).await);
    options.key = KeyText::parse(OTHER_KEY).unwrap();
    let exploration = run(&options).await;
    assert_eq!(
        exploration.to_json(),
        r#"{"found":false,"options":{},"tried":1}"#
    );
    let last = exploration.story.last().unwrap();
    assert!(last.contains("another gateway's key"), "{last}");
}

#[tokio::test]
async fn what_is_no_gateway_is_left_alone_soon() {
    let address = impostor(|stream| says(stream, b"SSH-2.0-OpenSSH_9.9\r\n")).await;
    let exploration = run(&options(address)).await;
    assert!(exploration.found.is_none());
    assert_eq!(exploration.tried, 1);
    let address = impostor(|stream| says(stream, b"HTTP/1.1 404 Not Found\r\n\r\n")).await;
    let exploration = run(&options(address)).await;
    assert!(exploration.found.is_none());
    assert!(exploration.tried <= 40);
}

#[tokio::test]
async fn the_doctor_names_the_options_under_which_the_key_makes_sense() {
    let setting = Setting {
        key_form: KeyForm::Md5,
        variants: Variants {
            padding: Padding::Zero,
            ..Variants::default()
        },
        ..Setting::default()
    };
    let report = examine(&options(gateway(setting).await)).await.report;
    let decrypt = report.check("decrypt").unwrap();
    assert_eq!(decrypt.outcome, Outcome::Fail);
    assert!(
        decrypt.detail.contains("--key-form md5 --padding zero"),
        "{}",
        decrypt.detail
    );
}

#[tokio::test]
async fn a_gateway_that_proves_itself_differently_is_not_tried_at_random() {
    let address = rogue(Fault::OtherProof).await;
    let exploration = run(&options(address)).await;
    let found = exploration.found.unwrap();
    assert_eq!((found.proof, exploration.tried), (Proof::Sha256, 2));
}

#[tokio::test]
async fn a_handshake_without_devices_is_no_success() {
    for fault in [
        Fault::Refuses("get_devices"),
        Fault::HangsUpAt("get_devices"),
    ] {
        let exploration = run(&options(rogue(fault).await)).await;
        assert!(exploration.found.is_none());
        let last = exploration.story.last().unwrap();
        assert!(last.contains("the handshake succeeds"), "{last}");
    }
}

#[tokio::test]
async fn one_that_has_too_much_to_do_is_tried_again_and_then_left_alone() {
    let exploration = run(&options(rogue(Fault::CloseAtProof(1013)).await)).await;
    assert!(exploration.found.is_none());
    assert_eq!(exploration.tried, 3);
}
