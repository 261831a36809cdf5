//! Conformance suites of the ports: what every implementation must do, fakes and real ones alike.
//!
//! A suite is a list of sentences, each a function over any implementation of its ports. The suite's macro makes a test
//! of every sentence, on a store of its own.

#![expect(missing_docs, reason = "a sentence is its own documentation")]

pub mod bodies;
pub mod emulator;
pub mod queue;
pub mod records;
pub mod state;
pub mod vault;

use chrono::SubsecRound;
use mailrail_domain::Timestamp;
use mailrail_engine::{
    outage::Outage,
    ports::{Page, PageRequest},
};

use crate::build::clock;

/// Pages after which a list counts as one that never ends.
const PAGES_MAX: usize = 1_000;

/// One test for every sentence of one part of a suite.
#[macro_export]
macro_rules! conformance_tests {
    ($name:ident in $($part:ident)::+, $make:expr, [$($sentence:ident),* $(,)?]) => {
        mod $name {
            #[expect(unused_imports, reason = "what `$make` needs is known to the caller alone")]
            use $crate::conformance::$($part)::+ as sentences;

            use super::*;

            $(
                #[tokio::test]
                async fn $sentence() {
                    let port = $make;
                    sentences::$sentence(&port).await;
                }
            )*
        }
    };
}

/// The present second. Stores delete by themselves what has run its time, so a date of long ago would not last a test.
fn this_second() -> Timestamp {
    clock().trunc_subsecs(0)
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

/// Everything on a list, page by page, none of which has more than `limit` entries.
async fn every_page<T>(limit: usize, read: impl AsyncFn(&PageRequest) -> Result<Page<T>, Outage>) -> Vec<T> {
    let mut items = Vec::new();
    let mut request = PageRequest { limit, cursor: None };
    for _ in 0..PAGES_MAX {
        let page = read(&request).await.unwrap();
        assert!(page.items.len() <= limit, "a page of {} where {limit} were asked for", page.items.len());
        items.extend(page.items);
        request.cursor = page.cursor;
        if request.cursor.is_none() {
            return items;
        }
    }
    panic!("the list does not end after {PAGES_MAX} pages");
}

/// The first page of at most `limit` entries.
const fn first(limit: usize) -> PageRequest {
    PageRequest { limit, cursor: None }
}
