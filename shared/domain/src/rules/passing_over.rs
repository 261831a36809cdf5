//! When a message that the server does not hand out is passed over, and when the server is asked for it again.
//!
//! That one message is bad is believed only if the server hands out another one in the same run. If it refuses several
//! and hands out none, the fault is the server's: the run fails, and nothing is passed over.

use crate::{
    Timestamp,
    rules::{retry::Pace, run::moved::Moved},
    seconds_after,
    words::passed_over::PassedOver,
};

/// Messages in a row that a server may refuse before the run fails, because the fault is then the server's.
pub const SUSPECTS_MAX: usize = 10;

/// Seconds after which a message that was passed over is asked for again; they double with each time in vain.
pub const ASK_AGAIN_SECONDS: u32 = 3_600;

/// Longest wait between two such times, in seconds: a day.
pub const ASK_AGAIN_SECONDS_MAX: u32 = 86_400;

/// Whether the messages that a server refused to the end of its listing are passed over, although none after them was
/// handed out. `read` is whether one before them was. A single message is passed over without such a proof before it
/// would disable the mailbox, unless that was done for an earlier message and not proven since.
#[must_use]
pub fn passes_over(suspects: usize, read: bool, pace: Pace, before: Option<PassedOver>) -> bool {
    suspects == 1 && (read || (pace == Pace::PassOver && !before.is_some_and(|known| known.is_unproven)))
}

/// What is remembered of messages that are about to be passed over.
#[must_use]
pub fn marked(now: Timestamp) -> PassedOver {
    PassedOver { ask_at: seconds_after(now, i64::from(ASK_AGAIN_SECONDS)), asked: 0, is_unproven: true }
}

/// What is remembered of passed over messages after a run.
#[must_use]
pub fn after(before: Option<PassedOver>, moved: &Moved, now: Timestamp) -> Option<PassedOver> {
    if moved.passed_over > 0 {
        return Some(PassedOver { is_unproven: !moved.has_read, ..marked(now) });
    }
    let before = before?;
    match moved.asked_again {
        Some(false) => None,
        Some(true) => {
            let asked = before.asked.saturating_add(1);
            let wait = ASK_AGAIN_SECONDS.saturating_mul(1 << asked.min(16)).min(ASK_AGAIN_SECONDS_MAX);
            Some(PassedOver { ask_at: seconds_after(now, i64::from(wait)), asked, ..before })
        }
        // The server hands messages out, so that the one that was passed over may come now.
        None if moved.has_read && before.is_unproven => Some(PassedOver { ask_at: now, asked: 0, is_unproven: false }),
        None => Some(before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        seconds_after(Timestamp::from_timestamp(1_700_000_000, 0).unwrap(), second)
    }

    #[test]
    fn one_message_is_passed_over_only_where_the_server_hands_out_others_or_before_it_would_disable() {
        assert!(passes_over(1, true, Pace::Pages, None));
        assert!(!passes_over(2, true, Pace::PassOver, None), "several: the fault is the server's");
        assert!(!passes_over(1, false, Pace::Singly, None), "there is time to wait for another one");
        assert!(passes_over(1, false, Pace::PassOver, None));
        let unproven = PassedOver { ask_at: at(0), asked: 0, is_unproven: true };
        assert!(!passes_over(1, false, Pace::PassOver, Some(unproven)), "the second in a row is the server's");
    }

    #[test]
    fn what_was_passed_over_is_asked_for_again_at_growing_distances() {
        let passing = Moved { passed_over: 1, has_read: true, ..Moved::default() };
        let mut known = after(None, &passing, at(0)).unwrap();
        assert_eq!((known.ask_at, known.is_unproven), (at(3_600), false));
        let in_vain = Moved { asked_again: Some(true), ..Moved::default() };
        let mut waits = Vec::new();
        for _ in 0..6 {
            known = after(Some(known), &in_vain, at(0)).unwrap();
            waits.push(known.ask_at);
        }
        assert_eq!(waits, [7_200, 14_400, 28_800, 57_600, 86_400, 86_400].map(at));
        assert_eq!(after(Some(known), &Moved { asked_again: Some(false), ..Moved::default() }, at(0)), None);
    }

    #[test]
    fn a_message_that_comes_proves_that_the_server_works_and_the_others_are_asked_for_at_once() {
        let unproven = after(None, &Moved { passed_over: 1, ..Moved::default() }, at(0)).unwrap();
        assert!(unproven.is_unproven);
        assert_eq!(after(Some(unproven), &Moved::default(), at(60)), Some(unproven), "nothing came");
        let proven = after(Some(unproven), &Moved { has_read: true, ..Moved::default() }, at(60)).unwrap();
        assert_eq!((proven.ask_at, proven.is_unproven), (at(60), false));
    }
}
