//! Deadlines of one connection, by the clock alone.

use std::time::Duration;

use http::Version;
use tokio::time::{Instant, advance};

use super::{Activity, Verdict, Write};
use crate::config::Timeouts;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_connection_that_sends_nothing_is_cut_after_the_header_timeout() {
    let activity = Activity::new(Timeouts::default());
    let start = Instant::now();
    assert!(matches!(activity.verdict(start), Verdict::Wait(_)));
    assert_eq!(activity.verdict(start + seconds(11)), Verdict::Cut);
}

#[test]
fn a_kept_connection_may_idle_but_not_dribble_a_head() {
    let activity = Activity::new(Timeouts::default());
    drop(activity.request_began(Version::HTTP_11));
    let start = Instant::now();
    assert!(matches!(
        activity.verdict(start + seconds(60)),
        Verdict::Wait(_)
    ));
    assert_eq!(activity.verdict(start + seconds(121)), Verdict::CloseIdle);
    activity.bytes_arrived();
    assert_eq!(activity.verdict(start + seconds(11)), Verdict::Cut);
}

#[test]
fn bytes_between_http2_requests_are_no_head() {
    let activity = Activity::new(Timeouts::default());
    drop(activity.request_began(Version::HTTP_2));
    activity.bytes_arrived();
    let start = Instant::now();
    assert!(matches!(
        activity.verdict(start + seconds(60)),
        Verdict::Wait(_)
    ));
}

#[test]
fn a_client_that_takes_no_answer_is_cut() {
    let activity = Activity::new(Timeouts::default());
    let in_flight = activity.request_began(Version::HTTP_11);
    activity.write_polled(Write::Blocked);
    let start = Instant::now();
    assert!(matches!(
        activity.verdict(start + seconds(30)),
        Verdict::Wait(_)
    ));
    assert_eq!(activity.verdict(start + seconds(61)), Verdict::Cut);
    drop(in_flight);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_flows_slowly_is_neither_idle_nor_a_dribbled_head() {
    let activity = Activity::new(Timeouts::default());
    // hyper has the whole answer at once; its bytes leave over five minutes.
    drop(activity.request_began(Version::HTTP_11));
    for _ in 0..60 {
        advance(seconds(5)).await;
        activity.write_polled(Write::Taken);
        activity.bytes_arrived();
        let verdict = activity.verdict(Instant::now());
        assert!(matches!(verdict, Verdict::Wait(_)), "{verdict:?}");
    }
    advance(seconds(11)).await;
    activity.write_polled(Write::Flushed);
    assert_eq!(activity.verdict(Instant::now()), Verdict::Cut);
}

#[tokio::test(start_paused = true)]
async fn pings_do_not_keep_an_idle_http2_connection() {
    let activity = Activity::new(Timeouts::default());
    drop(activity.request_began(Version::HTTP_2));
    for _ in 0..13 {
        advance(seconds(10)).await;
        activity.bytes_arrived();
        activity.write_polled(Write::Taken);
    }
    assert_eq!(activity.verdict(Instant::now()), Verdict::CloseIdle);
}

#[tokio::test(start_paused = true)]
async fn an_http2_answer_that_stands_still_cuts_whatever_else_flows() {
    let activity = Activity::new(Timeouts::default());
    let stalled = activity.request_began(Version::HTTP_2);
    let flowing = activity.request_began(Version::HTTP_2);
    stalled.piece_held();
    for _ in 0..59 {
        advance(seconds(1)).await;
        flowing.more_wanted();
        flowing.piece_held();
        activity.write_polled(Write::Taken);
        assert!(matches!(activity.verdict(Instant::now()), Verdict::Wait(_)));
    }
    advance(seconds(1)).await;
    assert_eq!(activity.verdict(Instant::now()), Verdict::Cut);
    // The service may think for as long as it likes.
    stalled.more_wanted();
    drop(flowing);
    advance(seconds(600)).await;
    assert!(matches!(activity.verdict(Instant::now()), Verdict::Wait(_)));
}
