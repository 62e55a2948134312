//! Writes the part of the corpus that is made by hand and from the protocol's vectors:
//! `cargo test --test seeds -- --ignored`. What a fuzzer found beside it is named by its hash.

use std::fs;
use std::path::Path;

use hearthgate_protocol::beacon::{Beacon, BeaconFrame};
use serde_json::Value;

fn write(target: &str, name: &str, data: impl AsRef<[u8]>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("corpus").join(target);
    fs::create_dir_all(&folder).expect("the folder of the corpus");
    fs::write(folder.join(name), data).expect("a seed");
}

fn vectors() -> Vec<(String, String, Vec<u8>)> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/protocol/tests/data/vectors.json");
    let text = fs::read_to_string(path).expect("the vectors");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let list = |name: &str| all[name].as_array().expect("an array").clone();
    [list("handshake"), list("session")]
        .concat()
        .iter()
        .map(|vector| {
            let text = |name: &str| vector[name].as_str().expect("a text").to_owned();
            let name: String = text("name")
                .chars()
                .map(|letter| {
                    if letter.is_ascii_alphanumeric() {
                        letter
                    } else {
                        '-'
                    }
                })
                .take(30)
                .collect();
            let hex = text("ciphertext_hex");
            let cipher = (0..hex.len() / 2)
                .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex"))
                .collect();
            (name, text("plaintext"), cipher)
        })
        .collect()
}

#[test]
#[ignore = "writes into the corpus"]
fn write_the_seeds() {
    frames();
    messages();
    schemas();
    beacons();
    scripts();
}

fn frames() {
    // Flags, limit, cuts; then frames of a server.
    write("frame", "text", b"\x00\x04\x01\x81\x05hello");
    write(
        "frame",
        "text-masked",
        b"\x01\x04\x00\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
    );
    write(
        "frame",
        "parts-and-a-ping",
        b"\x00\x04\x00\x01\x03Hel\x89\x01p\x00\x00\x80\x02lo\x8a\x00",
    );
    write("frame", "close", b"\x00\x04\x01\x88\x05\x03\xe8bye\x81\x00");
    write("frame", "close-of-one-byte", b"\x00\x04\x00\x88\x01\x03");
    write(
        "frame",
        "long",
        [&b"\x00\x05\x02\x82\x7e\x01\x00"[..], &[7; 256]].concat(),
    );
    write("frame", "over-the-limit", b"\x00\x02\x00\x82\x7e\x00\x7e");
    write(
        "frame",
        "huge",
        b"\x00\x07\x00\x82\x7f\x00\x00\x00\x7f\xff\xff\xff\xff",
    );
    write("frame", "reserved-bit", b"\x00\x04\x00\xc1\x00");
    write("frame", "wrong-masking", b"\x01\x04\x00\x81\x00");
    write("frame", "a-part-of-nothing", b"\x00\x04\x00\x80\x00");
    write(
        "frame",
        "parts-over-the-limit",
        b"\x00\x01\x00\x01\x01a\x80\x01b",
    );
    // Descriptions: control byte, length, payload.
    write(
        "frame",
        "described",
        b"\x02\x05\x02\x01\x03abc\x05\x01p\x09\x02de\x0a\x01b\x0f\x02\x03\xe8",
    );
    write(
        "frame",
        "described-masked",
        b"\x03\x06\x01\x19\x03abc\x2a\x02xy\x3a\x01z\x06\x00\x08\x04done",
    );
}

fn messages() {
    for (name, plain, _) in vectors() {
        write("message", &format!("vector-{name}"), plain);
    }
    let other = [
        (
            "device-for-devid",
            r#"{"id":4,"type":"set_value","data":[{"device":"a","value":[{"k":"x","v":null}]}]}"#,
        ),
        (
            "functions",
            r#"[{"devid":"a","category":"kg","functions":[{"code":"x","type":"Enum","values":{"range":["a"]}}],"status":null}]"#,
        ),
        (
            "statuses",
            r#"[{"devid":"a","online":1,"value":[{"k":"x","v":1.50},{"k":"y","v":{ "a" : 1 }}]}]"#,
        ),
        ("unknown-type", r#"{"id":-0,"type":"get_scenes","data":{}}"#),
        ("no-id", r#"{"id":1.0,"type":"get_devices"}"#),
        (
            "odd-event",
            r#"{"id":9,"type":"event","event_type":"scene_run","data":{"devid":"a"}}"#,
        ),
        (
            "doubled",
            r#"{"id":1,"id":2,"type":"event","type":"event","event_type":"state_changed","data":{"devid":"a","value":[{"k":"x","k":"y","v":1,"v":2}]}}"#,
        ),
        (
            "escapes",
            r#"{"i\u0064":7,"type":"event","event_type":"state_changed","data":{"devid":"\ud83c\udfe0","value":[{"k":"x","v":"\ud800"}]}}"#,
        ),
        (
            "white-space",
            "{ \"id\" : 7 ,\n\t\"type\":\"event\", \"event_type\":\"online_updated\" , \"data\":{\"devid\":\"a\",\"state\":0,\"value\":[ {\"k\":\"x\",\"v\": [ 1 , 2 ] } ]}}",
        ),
        (
            "details",
            r#"{"id":3,"type":"result","success":false,"error":{"code":"busy","message":"m","details":[{"devid":"a"}]}}"#,
        ),
        ("lost-quote", r#"{"id":1,"type":"get_devices,}"#),
    ];
    for (name, text) in other {
        write("message", name, text);
    }
    write(
        "message",
        "deep",
        format!(
            "{{\"id\":1,\"type\":\"get_devices\",\"x\":{}{}}}",
            "[".repeat(64),
            "]".repeat(64)
        ),
    );
    for kind in 0..9u8 {
        let data: Vec<u8> = (0..80u8)
            .map(|at| at.wrapping_mul(29).wrapping_add(kind))
            .collect();
        let kind = kind.saturating_mul(29);
        write(
            "message",
            &format!("made-{}", kind / 29),
            [&[0xff, 0, 0, 0, kind], &data[..]].concat(),
        );
    }
}

fn schemas() {
    let lines = [
        ("boolean", "Boolean\n{}\ntrue\nOn"),
        (
            "integer",
            "Integer\n{\"unit\":\"℃\",\"min\":-200,\"max\":600,\"scale\":1,\"step\":5}\n215\n21.5",
        ),
        (
            "integer-as-strings",
            "Integer\n{\"min\":\"0\",\"max\":\"100\",\"scale\":\"1\",\"step\":\" 5 \"}\n-5\n2.15e1",
        ),
        (
            "integer-beyond",
            "value\n{\"scale\":18,\"step\":0}\n9223372036854775807\n-9.223372036854775808",
        ),
        (
            "integer-fraction",
            "Integer\n{\"scale\":3,\"min\":0.5,\"step\":0.5}\n1.5\n1e-3",
        ),
        (
            "enum",
            "Enum\n{\"range\":[\"auto\",2,\"a b\"]}\n\"auto\"\n2",
        ),
        ("enum-object", "enum\n={\"range\": [\"a\"]}\n\"\\u0061\"\na"),
        ("string", "String\n{\"maxlen\":3}\n\"℃\"\n\"quoted\""),
        ("json", "Json\n{}\n\"{\\\"h\\\":1}\"\n{ \"h\" : 1 }"),
        ("raw", "Raw\n{\"maxlen\":3}\n\"AQID\"\nAQID"),
        (
            "bitmap",
            "Bitmap\n{\"label\":[\"motor\",\"heat\"]}\n3\nheat,motor",
        ),
        ("bitmap-length", "fault\n{\"maxlen\":4}\n16\n7"),
        ("unknown", "Sonnet\n={\"a\":[null]}\n{\"b\":1}\n[1"),
        ("nonsense", "Integer\n=null\n1e400\n1e30"),
    ];
    for (name, text) in lines {
        write("schema", name, text);
    }
    let profiles = [
        (
            "profile",
            "{\"devid\":\"a\",\"name\":\"Plug\",\"category\":\"cz\",\n \"function\":[{\"code\":\"switch_1\",\"type\":\"Boolean\",\"values\":\"{}\"}],\n \"status\":[{\"code\":\"switch_1\",\"type\":\"Boolean\",\"values\":\"{}\"},{\"code\":\"t\",\"type\":\"Integer\",\"values\":{\"scale\":1}}],\n \"online\":false,\"value\":[{\"k\":\"switch_1\",\"v\":true},{\"k\":\"t\",\"v\":1.50}]}",
        ),
        ("profile-small", "{\"devid\":\"a\"}"),
        (
            "profile-wrong",
            "{\"devid\":\"ä\",\n\"value\":[{\"k\":\"x\",\"v\":1},{\"k\":7,\"v\":1}]}",
        ),
        ("profile-broken", "{\"devid\":\"a\",\n  \"online\": tru}"),
    ];
    for (name, text) in profiles {
        write("schema", name, text);
    }
}

fn beacons() {
    let beacon = Beacon {
        uuid: "hg-0123456789".to_owned(),
        port: 8433,
    };
    for frame in BeaconFrame::ALL {
        write("beacon", frame.name(), beacon.encode(frame));
    }
    let other = [
        (
            "vendor-names",
            "{\"ip\":\"192.0.2.1\",\"gwId\":\"abc\",\"devId\":\"x\",\"ws_port\":9000,\"x\":{}}",
        ),
        (
            "both-names",
            "{\"uuid\":null,\"devId\":\"d\",\"port\":1,\"ws_port\":2}",
        ),
        (
            "white-space",
            " \t{ \"uuid\" : \"a b\\u0041\" , \"port\" : 65535 } \n",
        ),
        ("port-zero", "{\"uuid\":\"a\",\"port\":0}"),
        ("port-text", "{\"uuid\":\"a\",\"port\":\"1\"}"),
        ("not-ascii", "{\"uuid\":\"\u{fc}\",\"port\":1}"),
        ("half", "{\"uuid\":\"a\",\"po"),
        ("array", "[]"),
    ];
    for (name, text) in other {
        write("beacon", name, text);
    }
    write("beacon", "not-utf8", b"{\"uuid\":\"\xff\",\"port\":1}");
    write(
        "beacon",
        "frame-of-nothing",
        b"\0\0\x55\xaa\0\0\0\0\0\0\0\x13\0\0\0\x08\0\0\0\0\0\0\xaa\x55",
    );
    write(
        "beacon",
        "long-uuid",
        format!("{{\"uuid\":\"{}\",\"port\":1}}", "a".repeat(65)),
    );
}

fn scripts() {
    // Flags: 1 client, 2 base64, 4 plain, 8 detect, 16 accept plain, 32 roomy. Variants: 1 zero, 2 sha256, 4 base64.
    let session = "s{\"id\":1}\n\n";
    let requests = "j{\"id\":1,\"type\":\"get_devices\"}\n\nf{\"id\":2,\"type\":\"set_value\",\"data\":[{\"devid\":\"a\",\"value\":[{\"k\":\"x\",\"v\":1}]}]}\n\nj[]\n\nd";
    let answers = "j{\"id\":5,\"type\":\"result\",\"success\":true,\"result\":[]}\n\nf{\"id\":1,\"type\":\"event\",\"event_type\":\"state_changed\",\"data\":{\"devid\":\"a\",\"value\":[{\"k\":\"x\",\"v\":1}]}}\n\nj{\"id\":3,\"type\":\"get_devices\",\"x\":1}\n\nd";
    for (name, flags) in [("binary", 0u8), ("base64", 2), ("plain", 4)] {
        for (role, bit, proofs, talk) in [
            ("gateway", 0, "h", requests),
            ("client", 17, "h\n\nh", answers),
        ] {
            for (kind, variants, more) in [("", 0u8, 0u8), ("-variants", 7, 40)] {
                let script =
                    format!("u\n\np1\n\n{proofs}\n\n{session}{talk}\n\nt15000\n\nc\x03\x08");
                let head = [flags | bit | more, variants, flags + variants];
                write(
                    "handshake",
                    &format!("{role}-{name}{kind}"),
                    [&head, script.as_bytes()].concat(),
                );
            }
        }
    }
    let all: &[(&str, &[u8], &str)] = &[
        ("gateway-no-http", b"\0\0\0", "bhello\n\nd"),
        ("gateway-tls", b"\0\0\x03", "b\x16\x03\x01\x02\0\x01\n\nd"),
        (
            "gateway-no-upgrade",
            b"\0\0\x02",
            "bGET / HTTP/1.1\r\nHost: x\r\n\r\n\n\nd",
        ),
        (
            "gateway-wrong-key",
            b"\0\0\x01",
            "u\n\nk0123456789abcdef\n\nd\n\nt500\n\nr\n\nd",
        ),
        (
            "gateway-wrong-proof",
            b"\x04\0\x01",
            "u\n\nj{\"type\":\"auth\",\"data\":{\"nonce\":\"RIf328KU8EHKP1tH3XAtTw==\",\"hmac\":\"AA==\"}}\n\ne",
        ),
        (
            "gateway-reflected",
            b"\x04\0\x01",
            "u\n\nj{\"type\":\"auth\",\"data\":{\"nonce\":\"bm9uY2Ugb2YgZ2F0ZXdheQ==\",\"hmac\":\"\"}}\n\nt1\n\nx1001",
        ),
        ("gateway-late", b"\0\0\x01", "u\n\nt9999\n\np\n\nt1\n\nh"),
        (
            "gateway-unread-pings",
            b"\0\0\x01",
            "u\n\nh\n\npaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\nn5000\n\nd1000\n\np2\n\nd",
        ),
        (
            "gateway-over-the-limit",
            b"\x04\0\0",
            "u\n\nh\n\nk{}\n\nb\x01\u{fe}\x02\x58\0\0\0\0\n\nn500\n\nd",
        ),
        (
            "gateway-many-headers",
            b"\0\0\0",
            "bGET / HTTP/1.1\r\n\n\nbx: y\r\n\n\nn900",
        ),
        (
            "gateway-requests",
            b"\x04\0\0",
            "u\n\nh\n\nj{\"id\":1,\"type\":\"get_devices\"}\n\nn2000",
        ),
        (
            "gateway-wrong-kind",
            b"\0\0\0",
            "u\n\nh\n\nb\u{81}\u{82}\0\0\0\0{}",
        ),
        (
            "client-not-found",
            b"\x01\0\x02",
            "bHTTP/1.1 404 Not Found\r\n\r\n",
        ),
        (
            "client-https",
            b"\x01\0\0",
            "bHTTP/1.1 400 Bad Request\r\n\r\nplain HTTP to HTTPS port",
        ),
        ("client-plain-refused", b"\x0d\0\x01", "u\n\nh\n\nd"),
        ("client-plain-garbage", b"\x0d\0\x01", "u\n\nk{\n\nd"),
        (
            "client-wrong-key",
            b"\x01\0\x01",
            "u\n\nk0123456789abcdef\n\nd",
        ),
        (
            "client-refused",
            b"\x01\0\x01",
            "u\n\nh\n\nc\x03\x08authentication failed\n\nd",
        ),
        (
            "client-unserved",
            b"\x05\0\x01",
            "u\n\nh\n\nh\n\nj{\"id\":3,\"type\":\"get_devices\"}\n\nn4000\n\nd",
        ),
        ("client-no-object", b"\x05\0\x01", "u\n\nh\n\nh\n\nj[]\n\nd"),
        (
            "client-silent",
            b"\x01\0\x01",
            "u\n\nh\n\nh\n\nt44999\n\nq\n\nt46000",
        ),
    ];
    for (name, head, script) in all {
        write("handshake", name, [*head, &bytes(script)].concat());
    }
}

/// The bytes of a script: a character is a byte.
fn bytes(script: &str) -> Vec<u8> {
    script
        .chars()
        .map(|character| u8::try_from(character).unwrap_or(b'?'))
        .collect()
}
