//! What a provider lets one mailbox do in a time, kept by us so that we do not run into its refusals.
//!
//! Sources: Microsoft Graph, "Service-specific throttling limits", Outlook; Exchange Online, "Sending limits".

use crate::{Timestamp, seconds_after, settings::endpoint::Endpoint, words::spent::Spent};

/// Requests of one mailbox that may be under way at once (Microsoft Graph: 4 for an application and mailbox). One is
/// left for the function that sends.
pub const GRAPH_READS_AT_ONCE: usize = 3;

/// Seconds in a day.
const DAY_SECONDS: u32 = 86_400;

/// So much in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How much.
    pub limit: u32,
    /// In how many seconds.
    pub seconds: u32,
}

/// Requests for incoming email: of the 10,000 in ten minutes that an application has for a mailbox, a thousand are left
/// to sending and testing.
pub const GRAPH_READS: Budget = Budget { limit: 9_000, seconds: 600 };

/// Messages that a mailbox may send.
pub const GRAPH_MESSAGES: Budget = Budget { limit: 30, seconds: 60 };

/// Recipients that a mailbox may send to.
pub const GRAPH_RECIPIENTS: Budget = Budget { limit: 10_000, seconds: DAY_SECONDS };

impl Budget {
    /// What is left at `now`.
    #[must_use]
    pub fn left(self, spent: Option<Spent>, now: Timestamp) -> u32 {
        self.current(spent, now).map_or(self.limit, |spent| self.limit.saturating_sub(spent.amount))
    }

    /// How many messages a run may read: half of the requests that are left, because listing and repeats need the others. It
    /// is one at least, so that a run gets on.
    #[must_use]
    pub fn messages_of_a_run(self, spent: Option<Spent>, now: Timestamp) -> u32 {
        (self.left(spent, now) / 2).max(1)
    }

    /// Whether less than a tenth is left. The next run then waits until the whole budget is there again.
    #[must_use]
    pub fn is_nearly_spent(self, spent: Option<Spent>, now: Timestamp) -> bool {
        self.left(spent, now) < self.limit / 10
    }

    /// The account after `amount` more. A time that is over begins anew.
    #[must_use]
    pub fn spend(self, spent: Option<Spent>, amount: u32, now: Timestamp) -> Option<Spent> {
        let current = self.current(spent, now);
        let since = current.map_or(now, |spent| spent.since);
        let amount = current.map_or(0, |spent| spent.amount).saturating_add(amount);
        (amount > 0).then_some(Spent { since, amount })
    }

    /// When the whole budget is there again.
    #[must_use]
    pub fn renewed_at(self, spent: Option<Spent>, now: Timestamp) -> Timestamp {
        self.current(spent, now).map_or(now, |spent| seconds_after(spent.since, self.seconds.into()))
    }

    /// The account, unless its time is over. One that begins in the future is of a clock that was wrong.
    fn current(self, spent: Option<Spent>, now: Timestamp) -> Option<Spent> {
        spent.filter(|spent| spent.since <= now && now < seconds_after(spent.since, self.seconds.into()))
    }
}

/// What a run may still send, counted as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    messages_left: u32,
    recipients_left: u32,
    /// Whether nothing was sent to anybody since the budget of recipients was whole.
    is_first: bool,
    /// Messages that were taken.
    pub messages: u32,
    /// Recipients of those.
    pub recipients: u32,
}

impl Allowance {
    /// What is left at `now` of the budgets of messages and recipients, or no end of it without them.
    #[must_use]
    pub fn of(budgets: Option<(Budget, Budget)>, spent: (Option<Spent>, Option<Spent>), now: Timestamp) -> Self {
        let (messages_left, recipients_left, is_first) =
            budgets.map_or((u32::MAX, u32::MAX, false), |(messages, recipients)| {
                let left = recipients.left(spent.1, now);
                (messages.left(spent.0, now), left, left == recipients.limit)
            });
        Self { messages_left, recipients_left, is_first, messages: 0, recipients: 0 }
    }

    /// Takes a message to so many recipients, if there is room for it. The first goes out however many recipients it
    /// has, or it never would.
    pub fn takes(&mut self, recipients: u32) -> bool {
        let reached = self.recipients.saturating_add(recipients);
        let has_room = reached <= self.recipients_left || (self.is_first && self.messages == 0);
        let fits = self.messages < self.messages_left && has_room;
        if fits {
            (self.messages, self.recipients) = (self.messages + 1, reached);
        }
        fits
    }
}

/// The budget of requests for incoming email, where the provider has one.
#[must_use]
pub const fn of_reads(endpoint: &Endpoint) -> Option<Budget> {
    match endpoint {
        Endpoint::Graph(_) => Some(GRAPH_READS),
        Endpoint::Imap(_) | Endpoint::Pop3(_) | Endpoint::Smtp(_) | Endpoint::Ews(_) => None,
    }
}

/// The budgets of messages and of recipients, where the provider has them.
#[must_use]
pub const fn of_sends(endpoint: &Endpoint) -> Option<(Budget, Budget)> {
    match endpoint {
        Endpoint::Graph(_) => Some((GRAPH_MESSAGES, GRAPH_RECIPIENTS)),
        Endpoint::Imap(_) | Endpoint::Pop3(_) | Endpoint::Smtp(_) | Endpoint::Ews(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    #[test]
    fn a_budget_is_spent_and_comes_back_when_its_time_is_over() {
        let budget = Budget { limit: 30, seconds: 60 };
        assert_eq!(budget.left(None, at(0)), 30);
        assert_eq!(budget.spend(None, 0, at(0)), None, "what spends nothing keeps no account");
        let spent = budget.spend(None, 10, at(0));
        let spent = budget.spend(spent, 20, at(59));
        assert_eq!((budget.left(spent, at(59)), budget.renewed_at(spent, at(59))), (0, at(60)));
        assert_eq!(budget.left(spent, at(60)), 30);
        assert_eq!(budget.spend(spent, 1, at(60)), Some(Spent { since: at(60), amount: 1 }));
        assert_eq!(budget.left(budget.spend(spent, u32::MAX, at(59)), at(59)), 0);
    }

    #[test]
    fn a_run_leaves_requests_for_listing_and_the_next_waits_when_few_are_left() {
        let spent = |amount| Some(Spent { since: at(0), amount });
        assert_eq!(GRAPH_READS.messages_of_a_run(None, at(0)), GRAPH_READS.limit / 2);
        assert_eq!(GRAPH_READS.messages_of_a_run(spent(GRAPH_READS.limit), at(1)), 1);
        let tenth = GRAPH_READS.limit / 10;
        assert!(!GRAPH_READS.is_nearly_spent(spent(GRAPH_READS.limit - tenth), at(1)));
        assert!(GRAPH_READS.is_nearly_spent(spent(GRAPH_READS.limit - tenth + 1), at(1)));
    }

    #[test]
    fn a_message_is_taken_while_there_is_room_for_it_and_for_its_recipients() {
        let budgets = (Budget { limit: 3, seconds: 60 }, Budget { limit: 10, seconds: 600 });
        let spent = |amount| Some(Spent { since: at(0), amount });
        let mut allowance = Allowance::of(Some(budgets), (None, spent(4)), at(1));
        assert!(allowance.takes(5));
        assert!(!allowance.takes(2), "two are more than the one recipient that is left");
        assert!(allowance.takes(1));
        assert_eq!((allowance.messages, allowance.recipients), (2, 6));
        let mut allowance = Allowance::of(Some(budgets), (spent(2), None), at(1));
        assert!(allowance.takes(1) && !allowance.takes(1), "three messages in all");
        assert!(Allowance::of(Some(budgets), (spent(3), None), at(60)).takes(1), "the minute is over");
    }

    #[test]
    fn a_message_with_more_recipients_than_a_day_has_goes_out_alone() {
        let budgets = Some((GRAPH_MESSAGES, GRAPH_RECIPIENTS));
        let mut fresh = Allowance::of(budgets, (None, None), at(0));
        assert!(fresh.takes(GRAPH_RECIPIENTS.limit + 1));
        assert!(!fresh.takes(1));
        let spent = GRAPH_RECIPIENTS.spend(None, 1, at(0));
        assert!(!Allowance::of(budgets, (None, spent), at(1)).takes(GRAPH_RECIPIENTS.limit));
    }

    #[test]
    fn without_a_budget_there_is_no_end() {
        let mut allowance = Allowance::of(None, (None, None), at(0));
        assert!((0..1_000).all(|_| allowance.takes(1_000)));
    }

    #[test]
    fn an_account_of_the_future_is_not_believed() {
        let spent = Some(Spent { since: at(100), amount: 30 });
        assert_eq!(GRAPH_MESSAGES.left(spent, at(0)), 30);
        assert_eq!(GRAPH_MESSAGES.renewed_at(spent, at(0)), at(0));
    }
}
