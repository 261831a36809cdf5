//! Sentences for people: alerts and notices.

pub mod alert;
pub mod notice;
pub mod wording;
