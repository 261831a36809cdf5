//! Sentences for people: alerts and notices.

pub mod alert;
#[cfg(test)]
mod catalogue;
pub mod notice;
pub mod wording;
