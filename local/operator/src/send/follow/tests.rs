//! The tests supply the gateway's answers and the time, so no test waits.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn place(partition: i32, offset: i64) -> Place {
    Place { topic: Arc::from("city"), partition, offset }
}

fn event_status(status: Status) -> EventStatus {
    EventStatus { status, reason: None }
}

/// Returns every place that may be looked up now.
fn looks(follower: &mut Follower, now: Instant) -> Vec<Place> {
    std::iter::from_fn(|| match follower.step(now, true) {
        Step::Look(place) => Some(place),
        Step::Rest(_) | Step::Answers | Step::Done => None,
    })
    .collect()
}

#[test]
fn later_events_are_not_looked_up_while_the_first_event_is_pending() {
    let start = Instant::now();
    let mut follower = Follower::new(Patience::default(), start);
    for offset in [7, 5, 6] {
        follower.follow(place(0, offset), Status::Pending, start);
    }
    assert_eq!(looks(&mut follower, start), [place(0, 5)]);
    assert!(!follower.answered(&place(0, 5), Ok(&event_status(Status::Pending)), start));
    assert_eq!(looks(&mut follower, start), []);
    let Step::Rest(until) = follower.step(start, true) else { panic!("the follower does not rest") };
    assert_eq!(looks(&mut follower, until), [place(0, 5)]);
    assert!(follower.answered(&place(0, 5), Ok(&event_status(Status::Written)), until));
    assert_eq!(looks(&mut follower, until), [place(0, 6), place(0, 7)]);
    assert!(follower.answered(&place(0, 7), Ok(&event_status(Status::Duplicate)), until));
    assert!(follower.answered(&place(0, 6), Ok(&event_status(Status::Rejected)), until));
    assert_eq!(follower.step(until, true), Step::Done);
}

#[test]
fn partitions_are_followed_concurrently() {
    let start = Instant::now();
    let mut follower = Follower::new(Patience::default(), start);
    for partition in 0..4 {
        follower.follow(place(partition, 1), Status::Pending, start);
        follower.follow(place(partition, 2), Status::Pending, start);
    }
    assert_eq!(looks(&mut follower, start), [0, 1, 2, 3].map(|partition| place(partition, 1)));
}

#[test]
fn the_number_of_concurrent_lookups_is_limited() {
    let start = Instant::now();
    let mut follower = Follower::new(Patience::default(), start);
    for offset in 0..1_000 {
        follower.follow(place(0, offset), Status::Pending, start);
    }
    assert_eq!(looks(&mut follower, start).len(), 1);
    follower.answered(&place(0, 0), Ok(&event_status(Status::Written)), start);
    assert_eq!(looks(&mut follower, start).len(), LOOKS);
    assert_eq!(follower.step(start, true), Step::Answers);
}

#[test]
fn a_failed_lookup_leaves_the_event_pending() {
    let start = Instant::now();
    let mut follower = Follower::new(Patience::default(), start);
    follower.follow(place(0, 1), Status::Pending, start);
    assert_eq!(looks(&mut follower, start).len(), 1);
    assert!(!follower.answered(&place(0, 1), Err("no answer in time"), start));
    assert_eq!(follower.pending(), [place(0, 1)]);
    let given_up = start + Patience::default().pending_for;
    assert_eq!(looks(&mut follower, given_up).len(), 1);
    assert!(!follower.answered(&place(0, 1), Err("no answer in time"), given_up));
    assert_eq!(follower.step(given_up, true), Step::Done);
}

#[test]
fn waiting_events_are_looked_up_until_too_much_time_passes_without_a_decision() {
    let start = Instant::now();
    let patience = Patience::default();
    let mut follower = Follower::new(patience, start);
    for offset in 0..3_000 {
        follower.follow(place(0, offset), Status::Waiting, start);
    }
    let (mut now, mut asked, mut landed) = (start, 0, 0);
    while now < start + Duration::from_secs(60) {
        match follower.step(now, true) {
            Step::Look(place) => {
                asked += 1;
                // The parents of a third of the events arrive after five seconds.
                let is_there = place.offset % 3 == 0 && now > start + Duration::from_secs(5);
                let status = if is_there { Status::Written } else { Status::Waiting };
                landed += usize::from(follower.answered(&place, Ok(&event_status(status)), now));
            }
            Step::Rest(until) => now = until,
            Step::Answers => panic!("no lookup is outstanding"),
            Step::Done => break,
        }
    }
    assert_eq!((landed, follower.waiting()), (1_000, 2_000));
    let took = now - start;
    assert!(took >= Duration::from_secs(15) && took < Duration::from_secs(20), "{took:?}");
    assert!(asked < 5 * 256 + 3_000 + 2_000 + 11 * 256 + 2_000, "{asked} lookups");
}

#[test]
fn the_follower_rests_between_lookups_while_more_events_may_arrive() {
    let start = Instant::now();
    let mut follower = Follower::new(Patience::default(), start);
    assert_eq!(follower.step(start, false), Step::Done);
    follower.follow(place(0, 1), Status::Waiting, start);
    assert_eq!(looks(&mut follower, start).len(), 1);
    follower.answered(&place(0, 1), Ok(&event_status(Status::Waiting)), start);
    let much_later = start + Duration::from_secs(3_600);
    assert_eq!(follower.step(start + MS, false), Step::Rest(start + Duration::from_secs(1)));
    assert!(matches!(follower.step(much_later, false), Step::Look(_)));
}
