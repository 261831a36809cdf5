//! What follows from what: every decision of synchronization, as a function of its arguments.

pub mod admission;
pub mod budget;
pub mod classification;
pub mod freshness;
pub mod hold;
pub mod majority;
pub mod notices;
pub mod passing_over;
pub mod recovery;
pub mod retry;
pub mod run;
pub mod schedule;
pub mod story;
pub mod support;
