use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use hearthgate_client::Trust;
use hearthgate_protocol::crypto::{DeviceKey, KeyText};
use hearthgate_protocol::variants::{Dialect, KeyForm, Padding, Wire};

use super::*;

const KEY: &str = "k9Xq2mPz7LwT4vRb";

struct Place {
    folder: tempfile::TempDir,
    path: PathBuf,
}

fn place(text: &str) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateways.toml");
    if !text.is_empty() {
        fs::write(&path, text).unwrap();
    }
    Place { folder, path }
}

impl Place {
    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }
}

fn home() -> KnownGateway {
    KnownGateway {
        key: Some(KeyText::new(KEY)),
        ..KnownGateway::new("bf01", "home")
    }
}

fn problem(text: &str) -> String {
    let error = Directory::parse(text, Path::new("gateways.toml")).unwrap_err();
    error.to_string()
}

#[test]
fn how_tls_and_the_older_dialect_are_spoken_is_read_and_written() {
    let print = hearthgate_protocol::crypto::Fingerprint::of(b"x");
    let text = format!(
        "[[gateway]]\nuuid = \"a\"\nname = \"a\"\nkey = \"any OPENAPI_KEY\"\naddress = \"h\"\n\
         fingerprint = \"{print}\"\ndialect = \"2023\"\ntoken_port = 8443\n\n\
         [[gateway]]\nuuid = \"b\"\nname = \"b\"\naddress = \"h\"\ntls = true\nca = \"/c/ca.pem\"\n\n\
         [[gateway]]\nuuid = \"c\"\nname = \"c\"\naddress = \"h\"\n"
    );
    let directory = Directory::parse(&text, Path::new("/c/gateways.toml")).unwrap();
    assert_eq!(Directory::text(directory.gateways()), text);
    let [older, by_ca, bare] = directory.gateways() else {
        panic!("{directory:?}")
    };
    assert_eq!(older.endpoint().unwrap().to_string(), "wss://h:8433");
    assert_eq!(older.trust(), Trust::Pinned(print));
    let key = older.credential(None, None).unwrap().unwrap();
    assert_eq!(key.dialect(), Dialect::Older);
    assert!(!format!("{older:?} {key:?}").contains("OPENAPI"));
    assert_eq!(by_ca.trust(), Trust::Ca("/c/ca.pem".into()));
    assert!(by_ca.is_secure() && !bare.is_secure());
    let spec = crate::GatewaySpec::of(older);
    assert_eq!((spec.secure, spec.token_port), (true, 8443));
    let with = |line: &str| problem(&format!("[[gateway]]\nuuid = \"a\"\n{line}\n"));
    for (line, words) in [
        ("fingerprint = \"AB\"", "64 hexadecimal digits"),
        ("tls = \"yes\"", "true or false"),
        ("dialect = \"2022\"", "2024, 2023"),
        ("token_port = 0", "1 to 65535"),
        ("tls = false\ndialect = \"2023\"", "over TLS only"),
        ("tls = false\nca = \"x\"", "leave one out"),
        ("key = \"too short\"", "16 printable"),
    ] {
        let text = with(line);
        assert!(text.contains(words), "{text}");
    }
    // A pin takes the place of a CA, and keeps the rest.
    let place = place(&text);
    let pin = KnownGateway {
        fingerprint: Some(print),
        ..KnownGateway::new("b", "b")
    };
    assert_eq!(Directory::add(&place.path, &pin).unwrap(), Added::Changed);
    let known = Directory::load(&place.path).unwrap();
    let known = known.find("b").unwrap();
    assert_eq!(
        (known.trust(), known.tls),
        (Trust::Pinned(print), Some(true))
    );
}

#[test]
fn every_field_is_read_and_written() {
    let text = concat!(
        "[[gateway]]\nuuid = \"bf01\"\nname = \"Home\"\nkey = \"k9Xq2mPz7LwT4vRb\"\n",
        "address = \"[fe80::1]:99\"\ngrace = \"90s\"\nwire = \"base64\"\npadding = \"zero\"\n",
        "key_form = \"md5\"\nproof = \"sha256\"\nproof_over = \"base64\"\npath = \"/x\"\n\n",
        "[[gateway]]\nuuid = \"bf02\"\nname = \"bf02\"\nkey_file = \"/a/b.key\"\n",
    );
    let directory = Directory::parse(text, Path::new("/c/gateways.toml")).unwrap();
    let [first, second] = directory.gateways() else {
        panic!("{directory:?}")
    };
    assert_eq!(first.endpoint().unwrap().to_string(), "ws://[fe80::1]:99/x");
    assert_eq!(first.grace(), Duration::from_secs(90));
    assert_eq!(first.variants().padding, Padding::Zero);
    assert_eq!(
        first.credential(None, None).unwrap(),
        Some(DeviceKey::parse(KEY, KeyForm::Md5).unwrap().into())
    );
    assert_eq!(second.grace(), Duration::from_secs(30));
    assert_eq!(Directory::text(directory.gateways()), text);
    // A name may be left out, a key file is beside the file.
    let text = "[[gateway]]\nuuid = \"bf02\"\nkey_file = \"b.key\"\n";
    let directory = Directory::parse(text, Path::new("/c/gateways.toml")).unwrap();
    assert_eq!(directory.gateways()[0].name, "bf02");
    assert_eq!(
        directory.gateways()[0].key_file.as_deref(),
        Some(Path::new("/c/b.key"))
    );
}

#[test]
fn a_gateway_is_found_by_name_whatever_the_case_and_by_uuid() {
    let place = place("");
    Directory::add(&place.path, &home()).unwrap();
    let directory = Directory::load(&place.path).unwrap();
    assert_eq!(directory.find("HOME").unwrap(), &home());
    assert_eq!(directory.find("bf01").unwrap(), &home());
    let error = directory.find("hone").unwrap_err().to_string();
    assert!(error.contains("did you mean home?"), "{error}");
    let error = Directory::default().find("x").unwrap_err().to_string();
    assert!(error.contains("hearthgate gateways add"), "{error}");
}

#[test]
fn the_file_is_made_for_the_owner_alone() {
    let place = place("");
    let path = place.folder.path().join("new/hearthgate/gateways.toml");
    assert_eq!(Directory::add(&path, &home()).unwrap(), Added::New);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    // One that was open to others is closed by the next change.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    Directory::rename(&path, "home", "house").unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn adding_again_changes_what_is_given_and_keeps_the_rest() {
    let place = place("");
    Directory::add(&place.path, &home()).unwrap();
    assert_eq!(Directory::add(&place.path, &home()).unwrap(), Added::Same);
    let moved = KnownGateway {
        address: Some("192.0.2.1".to_owned()),
        key_file: Some("/k".into()),
        ..KnownGateway::new("bf01", "house")
    };
    assert_eq!(Directory::add(&place.path, &moved).unwrap(), Added::Changed);
    let known = Directory::load(&place.path).unwrap().gateways()[0].clone();
    assert_eq!(known, moved);
    let wire = KnownGateway {
        wire: Some(Wire::Plain),
        ..KnownGateway::new("bf01", "house")
    };
    Directory::add(&place.path, &wire).unwrap();
    let known = Directory::load(&place.path).unwrap().gateways()[0].clone();
    assert_eq!(known.wire, Some(Wire::Plain));
    assert_eq!(known.address, moved.address);
    // Another gateway does not get its name.
    let error = Directory::add(&place.path, &KnownGateway::new("bf02", "House")).unwrap_err();
    assert!(error.to_string().contains("names are unique"), "{error}");
    assert_eq!(Directory::load(&place.path).unwrap().gateways().len(), 1);
}

#[test]
fn comments_survive_every_change() {
    let text = "# Our gateways.\n\n# Upstairs.\n[[gateway]]\nuuid = \"bf01\" # printed below\n\
                name = \"up\"     # short\nkey = 'k9Xq2mPz7LwT4vRb'\n\n\
                # Downstairs.\n[[gateway]]\nuuid = \"bf02\"\nname = \"down\"\n\n# The end.\n";
    let place = place(text);
    Directory::rename(&place.path, "up", "upper").unwrap();
    let expected = text.replace("\"up\" ", "\"upper\" ");
    assert_eq!(place.text(), expected);
    Directory::add(&place.path, &KnownGateway::new("bf03", "third")).unwrap();
    for comment in [
        "Our",
        "Upstairs",
        "printed",
        "short",
        "Downstairs",
        "The end",
    ] {
        assert!(
            place.text().contains(comment),
            "{comment}: {}",
            place.text()
        );
    }
    Directory::remove(&place.path, "bf03").unwrap();
    Directory::remove(&place.path, "upper").unwrap();
    assert_eq!(
        place.text(),
        "# Our gateways.\n\n# Downstairs.\n[[gateway]]\nuuid = \"bf02\"\nname = \"down\"\n\n# The end.\n"
    );
    Directory::remove(&place.path, "down").unwrap();
    let left = place.text();
    assert!(
        left.contains("# Our gateways.") && left.contains("# The end."),
        "{left}"
    );
    assert!(!left.contains("Downstairs"), "{left}");
    assert!(Directory::load(&place.path).unwrap().gateways().is_empty());
    Directory::add(&place.path, &home()).unwrap();
    assert_eq!(Directory::load(&place.path).unwrap().gateways(), [home()]);
}

#[test]
fn a_broken_file_is_never_overwritten_and_the_error_has_the_line_and_no_key() {
    let place = place("");
    Directory::add(&place.path, &home()).unwrap();
    Directory::rename(&place.path, "home", "house").unwrap();
    for broken in [
        "[[gateway]]\nuuid = \"bf01\"\nkey = \"k9Xq2mPz7LwT4vRb\nname = 1",
        "[[gateway]]\nuuid = \"bf01\"\nkeys = \"k9Xq2mPz7LwT4vRb\"",
        "[[gateway]]\nuuid = \"bf01\"\nkey = k9Xq2mPz7LwT4vRb",
        "[[gateway]]\nuuid = \"bf01\"\n key = \"k9Xq2mPz7LwT4vRbX\"",
    ] {
        fs::write(&place.path, broken).unwrap();
        for error in [
            Directory::load(&place.path).unwrap_err(),
            Directory::add(&place.path, &home()).unwrap_err(),
            Directory::remove(&place.path, "home").unwrap_err(),
            Directory::rename(&place.path, "home", "x").unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(
                text.contains("line ") && text.contains("gateways.toml.bak"),
                "{text}"
            );
            assert!(
                !text.contains(KEY) && !format!("{error:?}").contains(KEY),
                "{text}"
            );
        }
        assert_eq!(place.text(), broken);
    }
}

#[test]
fn what_is_wrong_is_named() {
    let gateway = "[[gateway]]\nuuid = \"a\"\n";
    for (text, expected) in [
        (
            format!("{gateway}adress = \"x\"\n"),
            "line 3: unknown key `adress`; did you mean `address`?",
        ),
        (
            "[gateway]\nuuid = \"a\"\n".to_owned(),
            "line 1: gateways stand below lines with [[gateway]]",
        ),
        (
            "gatway = 1\n".to_owned(),
            "line 1: unknown key `gatway`; did you mean `gateway`?",
        ),
        (
            "\n[[gateway]]\nname = \"x\"\n".to_owned(),
            "line 2: a gateway needs its `uuid`",
        ),
        (
            format!("{gateway}wire = \"morse\"\n"),
            "line 3: wire = \"morse\": unknown wire",
        ),
        (
            format!("{gateway}grace = \"soon\"\n"),
            "line 3: grace is a duration",
        ),
        (format!("{gateway}grace = 30\n"), "line 3: grace is a text"),
        (
            format!("{gateway}address = \"ws://a\"\n"),
            "line 3: address is HOST",
        ),
        (
            format!("{gateway}address = \"a:0\"\n"),
            "line 3: address: the port",
        ),
        (
            format!("{gateway}path = \"x\"\n"),
            "line 3: path: a path begins",
        ),
        (format!("{gateway}name = \"ws://x\"\n"), "line 3: a name is"),
        (
            format!("{gateway}key = \"short\"\n"),
            "line 1: key: a device key is 16",
        ),
        (
            format!("{gateway}key = \"{KEY}\"\nkey_file = \"x\"\n"),
            "line 1: `key` and `key_file`",
        ),
        (
            format!("{gateway}{gateway}"),
            "line 3: the uuid a is there twice",
        ),
        (
            format!("{gateway}name = \"X\"\n[[gateway]]\nuuid = \"b\"\nname = \"x\"\n"),
            "names are unique",
        ),
    ] {
        let problem = problem(&text);
        assert!(problem.contains(expected), "{problem}\n{expected}");
    }
}

#[test]
fn a_key_file_is_read_when_the_key_is_wanted() {
    let place = place("[[gateway]]\nuuid = \"a\"\nname = \"attic\"\nkey_file = \"a.key\"\n");
    let known = Directory::load(&place.path).unwrap().gateways()[0].clone();
    let error = known.credential(None, None).unwrap_err().to_string();
    assert!(
        error.contains("attic") && error.contains("no such file"),
        "{error}"
    );
    fs::write(place.folder.path().join("a.key"), format!("{KEY}\n")).unwrap();
    let key = known.credential(None, None).unwrap().unwrap();
    assert_eq!(key, DeviceKey::parse(KEY, KeyForm::Ascii).unwrap().into());
    let inline = known.with_key_inline().unwrap();
    assert_eq!(inline.key, Some(KeyText::new(KEY)));
    assert!(!inline.clone().without_key().has_key());
    assert!(!format!("{inline:?}").contains(KEY));
}

#[test]
fn several_who_add_at_once_lose_nothing() {
    let place = place("# kept\n");
    std::thread::scope(|scope| {
        for number in 0..12 {
            let path = &place.path;
            scope.spawn(move || {
                let gateway = KnownGateway::new(format!("u{number}"), format!("n{number}"));
                // On a slow disk the others may have it for longer than one waits.
                while let Err(error) = Directory::add(path, &gateway) {
                    assert!(matches!(error, FileError::InUse { .. }), "{error}");
                }
            });
        }
    });
    assert_eq!(Directory::load(&place.path).unwrap().gateways().len(), 12);
    assert!(place.text().contains("# kept"));
}

#[test]
fn several_are_taken_over_together_or_not_at_all() {
    let place = place("");
    let twin = [KnownGateway::new("a", "one"), KnownGateway::new("b", "ONE")];
    assert!(Directory::import(&place.path, &twin).is_err());
    assert!(!place.path.exists());
    let pair = [KnownGateway::new("a", "one"), home()];
    let added = Directory::import(&place.path, &pair).unwrap();
    assert_eq!(added, [Added::New, Added::New]);
    // What comes without a key keeps the one that is known.
    let bare = [home().without_key()];
    assert_eq!(
        Directory::import(&place.path, &bare).unwrap(),
        [Added::Same]
    );
    let known = Directory::load(&place.path).unwrap();
    assert!(known.find("home").unwrap().has_key());
}

#[test]
fn a_key_in_the_place_of_a_file_name_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    for key in [KEY, "00112233445566778899aabbccddeeff"] {
        for path in [PathBuf::from(key), folder.path().join(key)] {
            let known = KnownGateway {
                key_file: Some(path.clone()),
                ..KnownGateway::new("bf01", "home")
            };
            for error in [
                known.credential(None, None).map(|_| ()).unwrap_err(),
                known.key_text().map(|_| ()).unwrap_err(),
            ] {
                let error = error.to_string();
                assert!(
                    !error.contains(key) && error.contains("like a key"),
                    "{error}"
                );
            }
        }
        // A file may have any name.
        let path = folder.path().join(key);
        fs::write(&path, "no key").unwrap();
        assert!(key_file_name(&path).ends_with(key));
    }
    assert_eq!(key_file_name(Path::new("home.key")), "home.key");
}
