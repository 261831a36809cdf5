//! Test & Enable: a mailbox's deliveries tried stage by stage, and enabled exactly where they passed.

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    words::{
        cause::Cause,
        delivery::{Delivery, TestStatus},
        evidence::{Evidence, Stage},
        id::{MailboxId, ProfileId},
    },
};

/// For so many seconds nobody can ask for another test of a mailbox whose test has not ended. No test takes longer, and a
/// test whose function died does not stand in the way for ever.
pub const TEST_SECONDS_MAX: i64 = 900;

/// Subject of the message that a mailbox sends to itself.
pub const TEST_SUBJECT: &str = "Your mailbox is now connected to Mailrail";

/// How far a test is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestPhase {
    /// It was asked for.
    Waiting,
    /// It has begun.
    Running,
    /// It has ended.
    Finished,
}

/// What a stage came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageReport {
    /// The stage.
    pub stage: Stage,
    /// Whether it went through.
    pub status: TestStatus,
    /// How long it took.
    pub milliseconds: u64,
    /// What was seen, where it failed or there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// What the test of one delivery came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryTest {
    /// The delivery.
    pub delivery: Delivery,
    /// Not Run while it is under way, then Success or Failure.
    pub status: TestStatus,
    /// The stages so far, in order.
    pub stages: Vec<StageReport>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// A test of one mailbox; the last is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxTest {
    /// Its identifier.
    pub id: String,
    /// The mailbox.
    pub mailbox_id: MailboxId,
    /// How far it is.
    pub phase: TestPhase,
    /// Name of the API token with which it was asked for.
    pub requested_by: String,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// "Sync items with this organization only, even if the mailbox is set to another": kept for when items are
    /// synchronized.
    #[serde(default)]
    pub items_with_this_organization_only: bool,
    /// The deliveries that somebody moves.
    pub deliveries: Vec<DeliveryTest>,
}

impl MailboxTest {
    /// Whether another test may be asked for at `now`.
    #[must_use]
    pub fn gives_way(&self, now: Timestamp) -> bool {
        self.phase == TestPhase::Finished || (now - self.requested_at).num_seconds() >= TEST_SECONDS_MAX
    }

    /// The part of a delivery, which is begun if it is not there.
    #[cfg_attr(not(test), expect(clippy::indexing_slicing, reason = "the part is at the place that was found or made"))]
    pub fn part(&mut self, delivery: Delivery) -> &mut DeliveryTest {
        let at = self.deliveries.iter().position(|part| part.delivery == delivery).unwrap_or_else(|| {
            let stages = Vec::new();
            self.deliveries.push(DeliveryTest { delivery, status: TestStatus::NotRun, stages, cause: None });
            self.deliveries.len() - 1
        });
        &mut self.deliveries[at]
    }
}

/// Tests of all mailboxes of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileTest {
    /// The profile.
    pub profile: ProfileId,
    /// Name of the API token with which they were asked for.
    pub requested_by: String,
    /// See [`MailboxTest::items_with_this_organization_only`].
    pub items_with_this_organization_only: bool,
    /// Where to go on; `None` at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seconds_after;

    #[test]
    fn a_test_under_way_holds_off_another_until_its_time_is_up() {
        let now = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
        let mut test = MailboxTest {
            id: "t1".into(),
            mailbox_id: MailboxId::parse("m1").unwrap(),
            phase: TestPhase::Waiting,
            requested_by: "ann".into(),
            requested_at: now,
            finished_at: None,
            items_with_this_organization_only: false,
            deliveries: vec![],
        };
        assert!(!test.gives_way(seconds_after(now, TEST_SECONDS_MAX - 1)));
        assert!(test.gives_way(seconds_after(now, TEST_SECONDS_MAX)));
        test.phase = TestPhase::Running;
        assert!(!test.gives_way(now));
        test.phase = TestPhase::Finished;
        assert!(test.gives_way(now));
    }

    #[test]
    fn each_delivery_has_one_part() {
        let mut test: MailboxTest = serde_json::from_value(serde_json::json!({
            "id": "t1", "mailbox_id": "m1", "phase": "running", "requested_by": "ann",
            "requested_at": "2026-01-01T00:00:00Z", "deliveries": [],
        }))
        .unwrap();
        for delivery in [Delivery::IncomingEmail, Delivery::OutgoingEmail, Delivery::IncomingEmail] {
            assert_eq!(test.part(delivery).delivery, delivery);
        }
        assert_eq!(test.deliveries.len(), 2);
    }
}
