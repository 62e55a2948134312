//! When attempts may begin, in virtual time.

use super::*;

const MOST: u32 = u32::MAX;

/// A backoff after one failed attempt.
fn failed(now: Instant, ending: Ending) -> Backoff {
    let mut backoff = Backoff::default();
    backoff.started();
    backoff.ended(now, ending, MOST);
    backoff
}

fn until(backoff: &Backoff) -> Instant {
    match backoff.phase() {
        BackoffPhase::Waiting { until, .. } => until,
        phase => panic!("{phase:?}"),
    }
}

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

#[test]
fn the_wait_doubles_from_half_a_second_to_thirty_seconds() {
    let cases = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
    for (failures, longest) in (1..).zip(cases) {
        assert_eq!(wait(failures, MOST), ms(longest), "{failures}");
        assert_eq!(wait(failures, 0), ms(longest / 2), "{failures}");
    }
    assert_eq!(wait(u32::MAX, MOST), LONGEST_WAIT);
}

#[test]
fn a_stable_minute_starts_the_count_anew_and_some_seconds_make_the_wait_short() {
    let now = Instant::now();
    for (held, expected) in [
        (0, 8000),
        (4_999, 8000),
        (5_000, 2000),
        (59_999, 2000),
        (60_000, 500),
        (600_000, 500),
    ] {
        let mut backoff = failed(now, Ending::Lost);
        for _ in 0..3 {
            backoff.started();
            backoff.ended(now, Ending::Lost, MOST);
        }
        backoff.started();
        backoff.connected(now);
        assert_eq!(backoff.phase(), BackoffPhase::Connected);
        let end = now + ms(held);
        assert_eq!(
            backoff.ended(end, Ending::Lost, MOST) - end,
            ms(expected),
            "{held}"
        );
    }
}

#[test]
fn a_rejected_key_waits_longest_and_no_advertisement_helps() {
    let now = Instant::now();
    let mut backoff = Backoff::default();
    for random in [0, 7, MOST] {
        backoff.started();
        let until = backoff.ended(now, Ending::KeyRejected, random);
        assert_eq!(until - now, LONGEST_WAIT);
        for advertised in [Advertised::SameAddress, Advertised::ChangedAddress] {
            assert!(!backoff.wake(now + ms(20_000), advertised));
        }
        let after = Ending::KeyRejected;
        assert_eq!(backoff.phase(), BackoffPhase::Waiting { until, after });
    }
    // It does not count among the others.
    backoff.started();
    assert_eq!(backoff.ended(now, Ending::Lost, MOST) - now, FIRST_WAIT);
    assert!(!backoff.key_changed());
    backoff.ended(now, Ending::KeyRejected, 0);
    assert!(backoff.key_changed());
    assert_eq!(backoff.phase(), BackoffPhase::Ready);
}

#[test]
fn an_advertisement_ends_a_wait_half_a_second_after_the_last_attempt_at_the_soonest() {
    let now = Instant::now();
    for (heard, expected) in [(0, 500), (100, 500), (500, 500), (700, 700), (3000, 3000)] {
        let mut backoff = failed(now, Ending::Lost);
        for _ in 0..3 {
            backoff.ended(now, Ending::Lost, MOST);
        }
        assert!(backoff.wake(now + ms(heard), Advertised::SameAddress));
        assert_eq!(until(&backoff) - now, ms(expected), "{heard}");
    }
}

#[test]
fn it_never_makes_a_wait_longer() {
    let now = Instant::now();
    let mut backoff = Backoff::default();
    let soon = backoff.ended(now, Ending::Lost, 0);
    assert!(!backoff.wake(now, Advertised::SameAddress));
    assert!(!backoff.wake(now + ms(400), Advertised::ChangedAddress));
    assert_eq!(until(&backoff), soon);
}

#[test]
fn it_does_so_once_in_thirty_seconds_and_once_more_from_a_changed_address() {
    use Advertised::{ChangedAddress, SameAddress};
    let start = Instant::now();
    let mut backoff = Backoff::default();
    for (at, advertised, expected) in [
        (1_000, SameAddress, true),
        (2_000, SameAddress, false),
        (3_000, ChangedAddress, true),
        (4_000, ChangedAddress, false),
        (30_999, SameAddress, false),
        (31_000, SameAddress, true),
        (32_999, ChangedAddress, false),
        (33_000, ChangedAddress, true),
    ] {
        // It has failed often, half a second ago.
        backoff.failures = 10;
        backoff.ended(start + ms(at - 500), Ending::Lost, MOST);
        let woken = backoff.wake(start + ms(at), advertised);
        assert_eq!(woken, expected, "{at} {advertised:?}");
    }
}

#[test]
fn it_touches_neither_an_attempt_nor_a_connection() {
    let now = Instant::now();
    let mut backoff = Backoff::default();
    assert!(!backoff.wake(now, Advertised::ChangedAddress));
    backoff.started();
    assert!(!backoff.wake(now, Advertised::ChangedAddress));
    assert_eq!(backoff.phase(), BackoffPhase::Attempting);
    backoff.connected(now);
    assert!(!backoff.wake(now, Advertised::ChangedAddress));
    assert_eq!(backoff.phase(), BackoffPhase::Connected);
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[test]
fn a_flood_adds_two_attempts_in_thirty_seconds_at_most() {
    for seed in 0..20 {
        let mut state = seed;
        let mut now = Instant::now();
        let end = now + Duration::from_secs(3600);
        let mut backoff = Backoff::default();
        let mut early = Vec::new();
        let mut failures = 0;
        while now < end {
            backoff.started();
            failures += 1;
            let began = now;
            let jitter = u32::try_from(random(&mut state) >> 32).unwrap();
            let mut due = backoff.ended(now, Ending::Lost, jitter);
            let mut woken = false;
            while now < due {
                for advertised in [Advertised::SameAddress, Advertised::ChangedAddress] {
                    woken |= backoff.wake(now, advertised);
                }
                due = until(&backoff);
                now = due.min(now + ms(1 + random(&mut state) % 500));
            }
            let shortest = wait(failures, 0);
            let waited = now - began;
            if woken {
                assert!(waited >= FIRST_WAIT, "seed {seed}: {waited:?}");
                early.push(now);
            } else {
                assert!(waited >= shortest, "seed {seed}: {waited:?}");
            }
        }
        for window in early.windows(3) {
            assert!(window[2] - window[0] >= WAKE_INTERVAL, "seed {seed}");
        }
        assert!(early.len() >= 200, "seed {seed}: {}", early.len());
    }
}

#[test]
fn waits_are_bounded_never_shrink_and_are_spread_evenly() {
    for seed in 0..50 {
        let mut state = seed;
        for failures in 1..40 {
            let (least, most) = (wait(failures, 0), wait(failures, MOST));
            assert!(most <= LONGEST_WAIT && most >= wait(failures - 1, MOST));
            let mut quarters = [0; 4];
            for _ in 0..400 {
                let random = u32::try_from(random(&mut state) >> 32).unwrap();
                let wait = wait(failures, random);
                assert!((least..=most).contains(&wait), "seed {seed}: {wait:?}");
                let share = (wait - least).as_secs_f64() / (most - least).as_secs_f64();
                let quarter = [0.25, 0.5, 0.75].iter().filter(|edge| share >= **edge);
                quarters[quarter.count()] += 1;
            }
            assert!(
                quarters.iter().all(|count| (50..150).contains(count)),
                "seed {seed}: {quarters:?}"
            );
        }
    }
}
