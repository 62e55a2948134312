//! Small parts of the hot paths, one at a time: `cargo bench -p hearthgate-bench --bench micro`, with the
//! start of a name behind ` -- ` for some of them. Without one, ratios follow, which unlike the times do
//! not depend on the machine; ` -- ratios` makes them alone.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program that measures, run by hand"
)]

mod parts;

use self::parts::link::{MirrorLink, ParseAlone, Subscriber};
use self::parts::ratio::{Ratio, timed};
use self::parts::{answers, house};

/// Devices of an answer.
const ANSWERED: usize = 1_000;
/// Devices of a mirror, and the events that it takes at a time.
const MIRRORED: usize = 10_000;
const EVENTS: usize = 20_000;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| it != "--bench")
        .collect();
    match arguments.as_slice() {
        [only] if only == "ratios" => ratios(),
        [] => {
            divan::main();
            ratios();
        }
        _ => divan::main(),
    }
}

fn ratios() {
    let mut gateway = answers::Answers::new(ANSWERED);
    let devices = gateway.devices();
    let (status, schema) = (
        answers::status_peer(&devices),
        answers::schema_peer(&devices),
    );
    let mut out = Vec::new();
    status.write(&mut out);
    assert!(gateway.status() == out, "the peer writes another status");
    schema.write(&mut out);
    assert!(gateway.schema() == out, "the peer writes another schema");
    println!("\nratios: ours against a peer, in turn, medians\n");
    let ratio = Ratio::measure(
        || timed(|| gateway.status().len()),
        || timed(|| status.write(&mut out)),
    );
    println!("get_status of {ANSWERED} devices / serde_json (goal: time at most 1.3)\n  {ratio}");
    let ratio = Ratio::measure(
        || timed(|| gateway.schema().len()),
        || timed(|| schema.write(&mut out)),
    );
    println!("get_schema of {ANSWERED} devices / serde_json (goal: time at most 1.3)\n  {ratio}");
    for (subscriber, name) in [
        (Subscriber::None, "no subscriber"),
        (Subscriber::One, "one subscriber"),
    ] {
        let ratio = mirror(subscriber);
        println!(
            "{EVENTS} events into a mirror of {MIRRORED}, {name} / decrypt and parse (goal: rate at least 0.7)\n  {ratio}"
        );
    }
}

fn mirror(subscriber: Subscriber) -> Ratio {
    let mut link = MirrorLink::new(MIRRORED, subscriber);
    let mut alone = ParseAlone::new(MIRRORED);
    let ratio = Ratio::measure(
        || {
            let batch = link.prepare(EVENTS);
            timed(|| link.apply(batch))
        },
        || {
            let batch = alone.prepare(EVENTS);
            timed(|| alone.parse(&batch))
        },
    );
    let last = link.last().expect("a report");
    assert!(link.holds(&last), "the mirror missed the last event");
    ratio
}

/// Text to messages.
mod decode {
    use divan::{Bencher, black_box};
    use hearthgate_protocol::wire::{decode_from_client, decode_from_gateway};

    use super::parts::messages::{EVENT, GET_STATUS, SET_VALUE};

    #[divan::bench(sample_size = 1_000)]
    fn event(bencher: Bencher<'_, '_>) {
        // Dropped at once, as a link does it.
        bencher.bench(|| drop(black_box(decode_from_gateway(black_box(EVENT.as_bytes())))));
    }

    #[divan::bench(sample_size = 1_000)]
    fn get_status(bencher: Bencher<'_, '_>) {
        bencher.bench(|| {
            drop(black_box(decode_from_client(black_box(
                GET_STATUS.as_bytes(),
            ))));
        });
    }

    #[divan::bench(sample_size = 1_000)]
    fn set_value(bencher: Bencher<'_, '_>) {
        bencher.bench(|| {
            drop(black_box(decode_from_client(black_box(
                SET_VALUE.as_bytes(),
            ))));
        });
    }
}

/// Messages to text.
mod encode {
    use divan::{Bencher, black_box};
    use hearthgate_protocol::model::Home;
    use hearthgate_protocol::wire::{
        EventKind, FromGateway, decode_from_gateway, write_event, write_result_statuses,
    };

    use super::parts::{house, messages::EVENT};

    fn kind() -> EventKind {
        match decode_from_gateway(EVENT.as_bytes()) {
            Ok((FromGateway::Event(event), _)) => event.kind,
            other => unreachable!("{other:?}"),
        }
    }

    #[divan::bench(sample_size = 1_000)]
    fn event(bencher: Bencher<'_, '_>) {
        let (kind, mut out) = (kind(), Vec::with_capacity(1024));
        bencher.bench_local(|| {
            out.clear();
            write_event(&mut out, 1_234_567, black_box(&kind));
            out.len()
        });
    }

    #[divan::bench(sample_size = 1_000)]
    fn answer_of_one_device(bencher: Bencher<'_, '_>) {
        let home: Home = house::devices(1).into_iter().collect();
        let mut out = Vec::with_capacity(4096);
        bencher.bench_local(|| {
            out.clear();
            write_result_statuses(&mut out, 77, black_box(&home).devices());
            out.len()
        });
    }
}

/// Between text and frames, for one session.
mod session {
    use divan::Bencher;

    use super::parts::messages::EVENT;
    use super::parts::sessions::{Crowd, session};

    #[divan::bench(args = [1, 64])]
    fn encrypt_events(bencher: Bencher<'_, '_>, events: usize) {
        let mut crowd = Crowd::new(1);
        let batch = vec![EVENT.as_bytes().to_vec(); events];
        bencher.bench_local(|| crowd.deliver(&batch));
    }

    #[divan::bench(args = [1, 64])]
    fn decrypt_and_parse_events(bencher: Bencher<'_, '_>, events: usize) {
        let now = std::time::Instant::now();
        let (mut gateway, mut client) = session(1);
        for _ in 0..events {
            gateway.send(EVENT.as_bytes());
        }
        let bytes = gateway.take_output();
        bencher.bench_local(|| {
            client.handle_input(now, &bytes);
            let mut seen = 0;
            while client.poll_event(now).is_some() {
                seen += 1;
            }
            assert_eq!(seen, events);
        });
    }

    #[divan::bench(args = [1, 100, 1000])]
    fn fan_out_64_events(bencher: Bencher<'_, '_>, sessions: u64) {
        let mut crowd = Crowd::new(sessions);
        let batch = vec![EVENT.as_bytes().to_vec(); 64];
        bencher.bench_local(|| crowd.deliver(&batch));
    }
}

/// State changes.
mod apply {
    use divan::Bencher;
    use hearthgate_protocol::model::Home;

    use super::parts::house::{self, STAMP};

    #[divan::bench(args = [10, 10_000], sample_size = 1_000)]
    fn state_of_one_in(bencher: Bencher<'_, '_>, devices: usize) {
        let mut home: Home = house::devices(devices).into_iter().collect();
        let reports = house::reports(&home, devices * 2 + 1);
        let mut next = reports.iter().cycle();
        bencher.bench_local(|| next.next().map(|report| home.apply(report, STAMP)));
    }
}

/// Answers for 1,000 devices, and the same by serde_json.
mod answer {
    use divan::Bencher;

    use super::ANSWERED;
    use super::parts::answers::{self, Answers};

    #[divan::bench]
    fn get_status(bencher: Bencher<'_, '_>) {
        let mut gateway = Answers::new(ANSWERED);
        bencher.bench_local(|| gateway.status().len());
    }

    #[divan::bench]
    fn get_status_by_serde_json(bencher: Bencher<'_, '_>) {
        let devices = super::house::devices(ANSWERED);
        let (peer, mut out) = (answers::status_peer(&devices), Vec::new());
        bencher.bench_local(|| peer.write(&mut out));
    }

    #[divan::bench]
    fn get_schema(bencher: Bencher<'_, '_>) {
        let mut gateway = Answers::new(ANSWERED);
        bencher.bench_local(|| gateway.schema().len());
    }

    #[divan::bench]
    fn get_schema_by_serde_json(bencher: Bencher<'_, '_>) {
        let devices = super::house::devices(ANSWERED);
        let (peer, mut out) = (answers::schema_peer(&devices), Vec::new());
        bencher.bench_local(|| peer.write(&mut out));
    }
}

/// The client's link, fed from memory.
mod link {
    use divan::Bencher;

    use super::parts::link::{MirrorLink, ParseAlone, Subscriber};
    use super::{EVENTS, MIRRORED};

    #[divan::bench(args = [Subscriber::None, Subscriber::One], sample_count = 15)]
    fn events_into_a_mirror(bencher: Bencher<'_, '_>, subscriber: Subscriber) {
        let link = parking_lot::Mutex::new(MirrorLink::new(MIRRORED, subscriber));
        bencher
            .counter(EVENTS)
            .with_inputs(|| link.lock().prepare(EVENTS))
            .bench_local_values(|batch| link.lock().apply(batch));
    }

    #[divan::bench(sample_count = 15)]
    fn decrypt_and_parse_alone(bencher: Bencher<'_, '_>) {
        let alone = parking_lot::Mutex::new(ParseAlone::new(MIRRORED));
        bencher
            .counter(EVENTS)
            .with_inputs(|| alone.lock().prepare(EVENTS))
            .bench_local_values(|batch| alone.lock().parse(&batch));
    }
}
