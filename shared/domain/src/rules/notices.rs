//! How a notice is sent: when it is tried again, and when many become one digest.

use crate::{
    Timestamp, seconds_after,
    words::notice::{Notice, NoticeStatus},
};

/// Shortest wait after a notice could not be sent, in seconds; it doubles with every try.
const WAIT_SECONDS_MIN: i64 = 60;
/// Longest wait, in seconds. A notice is never given up.
const WAIT_SECONDS_MAX: i64 = 3_600;
/// Doublings after which the wait has reached its longest.
const DOUBLINGS_MAX: u32 = 6;
/// From this number of notices of one kind and profile on, one digest takes their place.
pub const DIGEST_FROM: usize = 5;

impl Notice {
    /// Our own Message-ID, the same at every try, so that a second copy is recognized as one.
    #[must_use]
    pub fn message_id(&self) -> String {
        format!("notice-{}@{}", self.id, self.to.domain())
    }

    /// The notice after it was sent.
    #[must_use]
    pub fn sent(&self, now: Timestamp) -> Self {
        Self {
            status: NoticeStatus::Sent,
            attempts: self.attempts.saturating_add(1),
            last_error: None,
            sent_at: Some(now),
            ..self.clone()
        }
    }

    /// The notice after it could not be sent, with the next try set.
    #[must_use]
    pub fn not_sent(&self, why: &str, now: Timestamp) -> Self {
        let wait = (WAIT_SECONDS_MIN << self.attempts.min(DOUBLINGS_MAX)).min(WAIT_SECONDS_MAX);
        Self {
            attempts: self.attempts.saturating_add(1),
            next_attempt: seconds_after(now, wait),
            last_error: Some(why.to_owned()),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{delivery::Delivery, notice::NoticeKind};

    #[test]
    fn a_notice_is_never_given_up_and_its_wait_is_bounded() {
        let (profile, _) = crate::sample::sample();
        let created_at = profile.created_at;
        let mut notice = Notice {
            id: "n1".into(),
            kind: NoticeKind::Disabled,
            to: profile.owner_address,
            copy_to: None,
            mailbox_id: None,
            about: profile.name,
            profile_id: profile.id,
            delivery: Delivery::IncomingEmail,
            subject: "s".into(),
            text: "t".into(),
            status: NoticeStatus::Pending,
            attempts: 0,
            next_attempt: created_at,
            last_error: None,
            created_at,
            sent_at: None,
        };
        for _ in 0..40 {
            let now = notice.next_attempt;
            notice = notice.not_sent("the server is away", now);
            assert_eq!(notice.status, NoticeStatus::Pending);
            let wait = (notice.next_attempt - now).num_seconds();
            assert!((WAIT_SECONDS_MIN..=WAIT_SECONDS_MAX).contains(&wait));
        }
        assert_eq!(notice.attempts, 40);
    }
}
