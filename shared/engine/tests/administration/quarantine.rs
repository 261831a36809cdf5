//! The quarantine: listed, tried again, and searched for what somebody misses.

use bytes::Bytes;
use mailrail_domain::{
    email::quarantine::{Clues, QuarantineReason, Quarantined, Wanted},
    words::audit::AuditAction,
};
use mailrail_engine::{
    administration::quarantine::{REPLAYS_MAX, Replay},
    ports::{BodyStore, QuarantineStore},
    quarantine::{Finding, Replayed},
};
use mailrail_test_support::build::mailbox_id;

use super::*;

const READABLE: &str = "From: a@x.test\r\nSubject: Offer\r\nMessage-ID: <1@x.test>\r\n\r\nText.\r\n";

async fn put(world: &World, remote_id: &str, raw: &str, reason: QuarantineReason) {
    let message = Quarantined {
        mailbox_id: mailbox_id("m1"),
        remote_id: remote_id.into(),
        reason,
        detail: String::new(),
        received_at: None,
        raw_key: format!("quarantine/{remote_id}"),
        size: raw.len() as u64,
        at: moment(0),
        attempts: 1,
        last_attempt: None,
        clues: Clues { subject: Some("Lost".into()), ..Clues::default() },
    };
    world.ports.bodies.put(&message.raw_key, Bytes::copy_from_slice(raw.as_bytes()), "message/rfc822").await.unwrap();
    world.ports.state.quarantine(&message, moment(1_000)).await.unwrap();
}

async fn quarantined() -> World {
    let world = world();
    let profile = with_profile(&world).await.profile;
    with_mailbox(&world, "m1", &profile).await;
    put(&world, "good", READABLE, QuarantineReason::Unreadable).await;
    put(&world, "bad", "no message at all", QuarantineReason::NotAMessage).await;
    world
}

fn of_mailbox() -> Replay {
    Replay { mailbox_id: Some("m1".into()), ..Replay::default() }
}

#[tokio::test]
async fn messages_are_tried_again_and_those_that_are_records_now_are_in_the_audit() {
    let world = quarantined().await;
    assert_eq!(world.list_quarantine_of(&mailbox_id("m1"), &all()).await.unwrap().items.len(), 2);
    let replays = world.replay_messages(&ann(), of_mailbox()).await.unwrap();
    let came_to: Vec<_> = replays.tried.iter().map(|tried| (tried.remote_id.as_str(), &tried.came_to)).collect();
    assert!(matches!(came_to[..], [("bad", Replayed::Refused(_)), ("good", Replayed::Recorded(_))]), "{came_to:?}");
    assert!(!replays.more);
    let entry = ("ann".to_owned(), AuditAction::Replayed, "m1".to_owned(), vec!["good".to_owned()]);
    assert_eq!(last_audited(&world).await, entry);
    let left = world.list_quarantine(None, &all()).await.unwrap().items;
    assert_eq!(left.iter().map(|message| message.remote_id.as_str()).collect::<Vec<_>>(), ["bad"]);
    let named = Replay { remote_ids: Some(vec!["good".into()]), ..of_mailbox() };
    let again = world.replay_messages(&ann(), named).await.unwrap();
    assert_eq!(again.tried[0].came_to, Replayed::Gone);
}

#[tokio::test]
async fn those_of_one_reason_are_tried_alone() {
    let world = quarantined().await;
    for mailbox_id in [None, Some("m1".to_owned())] {
        let replay = Replay { mailbox_id, reason: Some(QuarantineReason::NotAMessage), remote_ids: None };
        let replays = world.replay_messages(&ann(), replay).await.unwrap();
        assert_eq!(replays.tried.iter().map(|tried| tried.remote_id.as_str()).collect::<Vec<_>>(), ["bad"]);
    }
}

#[tokio::test]
async fn those_of_one_reason_are_found_behind_many_of_another() {
    let world = quarantined().await;
    for number in 0..150 {
        put(&world, &format!("a{number}"), READABLE, QuarantineReason::Unreadable).await;
    }
    let replay = Replay { reason: Some(QuarantineReason::NotAMessage), ..of_mailbox() };
    let replays = world.replay_messages(&ann(), replay).await.unwrap();
    assert_eq!(replays.tried.iter().map(|tried| tried.remote_id.as_str()).collect::<Vec<_>>(), ["bad"]);
    assert!(!replays.more, "no other message is there for this reason");
    let replay = Replay { reason: Some(QuarantineReason::Unreadable), ..of_mailbox() };
    let replays = world.replay_messages(&ann(), replay).await.unwrap();
    assert_eq!((replays.tried.len(), replays.more), (REPLAYS_MAX, true));
}

#[tokio::test]
async fn what_cannot_be_tried_again_is_refused() {
    let world = quarantined().await;
    check_forbidden(world.replay_messages(&rita(), of_mailbox()).await);
    let nobodys = Replay { remote_ids: Some(vec!["good".into()]), ..Replay::default() };
    check_invalid(world.replay_messages(&ann(), nobodys).await, "mailbox_id");
    let none = Replay { remote_ids: Some(vec![]), ..of_mailbox() };
    check_invalid(world.replay_messages(&ann(), none).await, "remote_ids");
    let many = Replay { remote_ids: Some(vec!["x".into(); 101]), ..of_mailbox() };
    check_invalid(world.replay_messages(&ann(), many).await, "remote_ids");
    let unknown = Replay { mailbox_id: Some("m2".into()), ..Replay::default() };
    check_not_found(world.replay_messages(&ann(), unknown).await);
}

#[tokio::test]
async fn whoever_misses_a_message_is_told_where_it_is() {
    let world = quarantined().await;
    let subject = |subject: &str| Wanted { subject: Some(subject.into()), ..Wanted::default() };
    let found = world.why_missing("m1", &subject("lost")).await.unwrap();
    assert!(matches!(found[..], [Finding::Quarantined(_), Finding::Quarantined(_)]), "{found:?}");
    let found = world.why_missing("m1", &subject("nowhere")).await.unwrap();
    assert!(matches!(found[..], [Finding::NotHere(_)]), "{found:?}");
    check_invalid(world.why_missing("m1", &Wanted::default()).await, "message_id");
    check_not_found(world.why_missing("m2", &subject("lost")).await);
}
