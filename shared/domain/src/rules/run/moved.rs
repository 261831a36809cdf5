//! What one run of a delivery moved, and what it spent of the provider's budgets.

use crate::{
    Timestamp,
    rules::budget::Budget,
    words::{
        delivery::Learned,
        spent::{Account, Spent},
        state::DeliveryState,
    },
};

/// What a run moved. A run that failed half way has moved what it had done until then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moved {
    /// Messages or items that are done, without those that were passed over.
    pub done: u32,
    /// Whether the server handed out a message.
    pub has_read: bool,
    /// Messages that were passed over, because the server did not hand them out.
    pub passed_over: u32,
    /// Whether messages that were passed over earlier are still missing; `None` if the run did not ask for them again.
    pub asked_again: Option<bool>,
    /// Messages or items that were found and are left to the next run; `None` if the run did not look.
    pub waiting: Option<u32>,
    /// When the last one that is done was received, where the server says so.
    pub done_until: Option<Timestamp>,
    /// Whether there is more to do at once.
    pub more: bool,
    /// Whether something is to be tried again after the gap between two tries.
    pub is_deferred: bool,
    /// Whether something is left because a budget of the provider's is used up.
    pub over_budget: bool,
    /// What was spent of the provider's budgets.
    pub spends: Vec<Spend>,
    /// What is known of the server from now on, where it was reached.
    pub learned: Option<Learned>,
    /// The account whose position this run writes, as a digest; `None` if it writes none.
    pub source: Option<String>,
}

/// What a run spent of one budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spend {
    /// In which account of the delivery it is kept.
    pub account: Account,
    /// The budget.
    pub budget: Budget,
    /// How much.
    pub amount: u32,
}

impl Moved {
    /// The accounts of `state` after this run.
    pub fn charge(&self, state: &mut DeliveryState, now: Timestamp) {
        for Spend { account, budget, amount } in &self.spends {
            let spent = account.of(state);
            *spent = budget.spend(*spent, *amount, now);
        }
    }

    /// When the next run may be, where a budget is used up; `after` are the accounts after this run.
    #[must_use]
    pub fn resume_at(&self, after: &DeliveryState, now: Timestamp) -> Option<Timestamp> {
        let account = |account: &Account| -> Option<Spent> { account.read(after) };
        let used_up = self.spends.iter().filter(|Spend { account: of, budget, .. }| {
            if self.over_budget {
                budget.left(account(of), now) < budget.limit
            } else {
                self.more && budget.is_nearly_spent(account(of), now)
            }
        });
        let renewed = used_up.map(|Spend { account: of, budget, .. }| budget.renewed_at(account(of), now));
        renewed.min().filter(|at| *at > now)
    }
}
