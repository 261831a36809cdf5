//! Which messages of the inbox are new: their UIDs, listed again by number where a server does not list all of them.

use std::collections::BTreeMap;

use mailrail_domain::words::{
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
};

use super::{
    super::{
        reply::Token,
        session::{Full, REPLIES_MAX, value},
        uids::UidSet,
    },
    Inbox,
};

/// Messages that are listed at once by their numbers in the folder, where a server does not list all UIDs at once.
const NUMBERS_AT_ONCE: u32 = 500;
/// Times that this is asked for one listing: a million messages. A server may say that it has any number of them.
const NUMBERS_ASKED_MAX: u32 = 2_000;

impl Inbox {
    /// The day from which on messages are listed, if the whole inbox is to be read.
    fn first_day(&self, first: u32) -> Option<String> {
        // SINCE takes only days, in the server's time zone. So one day more is asked for, and the time of each message
        // is compared.
        let day_before = self.start_date.map(|date| mailrail_domain::seconds_after(date, -86_400));
        day_before.filter(|_| first == 1).map(|date| date.format("%-d-%b-%Y").to_string())
    }

    /// The command that lists the UIDs from `first` on.
    pub(super) fn list(&self, first: u32) -> String {
        match self.first_day(first) {
            since if self.session.can("ESEARCH") => {
                let since = since.map_or(String::new(), |day| format!(" SINCE {day}"));
                format!("UID SEARCH RETURN (ALL) UID {first}:*{since}")
            }
            // Observed with GNU imap4d 3.15: the search key UID finds nothing, but a range in FETCH works.
            Some(day) => format!("UID SEARCH SINCE {day}"),
            None => format!("UID FETCH {first}:* (UID)"),
        }
    }

    /// Reads the answer to [`Inbox::list`].
    pub(super) async fn listed(&mut self, tag: &str) -> Result<(), DeliveryError> {
        (self.waiting, self.session.found) = (UidSet::default(), UidSet::default());
        let mut fetched = Vec::new();
        for _ in 0..REPLIES_MAX {
            let full = self.session.reply().await?;
            // Observed with Proton Bridge: it says NO to a range in an empty folder.
            if self.session.exists == Some(0) && full.reply.ends(tag).is_some() {
                return Ok(());
            }
            if self.session.ended(&full.reply, tag)?.is_some() {
                let found = std::mem::take(&mut self.session.found);
                self.waiting = if fetched.is_empty() { found } else { UidSet::of(fetched) };
                return Ok(());
            }
            if let Some(tokens) = full.reply.message("FETCH") {
                fetched.extend(value(tokens, "UID").and_then(Token::number::<u32>));
            }
        }
        Err(self.session.wire.violation("the server does not end its answer"))
    }

    /// Whether the listing from `first` on is whole. Some providers list the first or the last thousands of messages and
    /// do not say so.
    pub(super) async fn is_whole(&mut self, first: u32) -> Result<bool, DeliveryError> {
        let Some(exists) = self.session.exists else {
            return Ok(true);
        };
        let listed = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        if let Some(day) = self.first_day(first) {
            // Every message is from that day on, or before it.
            let result = if self.session.can("ESEARCH") { " RETURN (ALL)" } else { "" };
            self.session.found = UidSet::default();
            let tag = self.session.send(&format!("UID SEARCH{result} BEFORE {day}")).await?;
            self.session.finish(&tag).await?;
            let before = u32::try_from(self.session.found.len()).unwrap_or(u32::MAX);
            return Ok(listed.saturating_add(before) >= exists);
        }
        let reaches_the_end =
            |last: u32| self.session.folder.uid_next.is_some_and(|next| last.saturating_add(1) >= next);
        if listed >= exists || self.waiting.is_gapless_from(first) && self.waiting.last().is_some_and(reaches_the_end) {
            return Ok(true);
        }
        if first == 1 {
            return Ok(false);
        }
        // The message in front of those that are listed has to be one that is done.
        let before = self.numbers(exists - listed, exists - listed).await?;
        Ok(before.values().any(|uid| *uid < first))
    }

    /// Numbers and UIDs of the messages with these numbers.
    async fn numbers(&mut self, from: u32, to: u32) -> Result<BTreeMap<u32, u32>, DeliveryError> {
        let tag = self.session.send(&format!("FETCH {from}:{to} (UID)")).await?;
        let mut found = BTreeMap::new();
        let each = |Full { reply, .. }: Full| {
            if let Some(tokens) = reply.message("FETCH")
                && let Some(number) = reply.tokens.first().and_then(Token::number::<u32>)
                && let Some(uid) = value(tokens, "UID").and_then(Token::number::<u32>)
                && (from..=to).contains(&number)
            {
                found.insert(number, uid);
            }
        };
        self.session.finish_with(&tag, each).await?;
        Ok(found)
    }

    /// Lists the messages from `first` on by their numbers, because the server did not list all at once. If it lists
    /// fewer again, everything up to the first gap is read, and the run fails.
    pub(super) async fn list_by_numbers(&mut self, first: u32) -> Result<(), DeliveryError> {
        let exists = self.session.exists.unwrap_or(0);
        let mut found = BTreeMap::new();
        let mut to = exists;
        for _ in 0..NUMBERS_ASKED_MAX {
            if to == 0 {
                break;
            }
            let from = to.saturating_sub(NUMBERS_AT_ONCE - 1).max(1);
            let listed = self.numbers(from, to).await?;
            let is_done = listed.values().any(|uid| *uid < first);
            found.extend(listed);
            to = if is_done { 0 } else { from - 1 };
        }
        let lowest = found.iter().find(|(_, uid)| **uid < first).map_or(1, |(number, _)| *number);
        let gap = (lowest..=exists).find(|number| !found.contains_key(number));
        self.waiting = UidSet::of(found.values().copied()).from(first);
        if let Some(gap) = gap {
            let words = format!("the inbox has {exists} messages, and the server lists {} of them", found.len());
            self.short = Some(DeliveryError::new(Cause::ProtocolViolation, Evidence::new(Stage::List, &words)));
            let before_gap = found.range(..gap).next_back().map_or(0, |(_, uid)| *uid);
            self.waiting = std::mem::take(&mut self.waiting).up_to(before_gap);
        }
        Ok(())
    }
}
