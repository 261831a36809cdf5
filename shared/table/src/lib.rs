//! One DynamoDB table: its calls and the form of its rows, whatever the rows are about.
//!
//! `store` keeps Mailrail's own state in it and `records-dynamodb` the customer's records. Each names its own keys.

mod call;
mod row;

pub use call::{Question, Sort, conditional, outage};
pub use row::{Item, Key, decode, encode, expiring, key_of, listed, moment, number, text, text_of};

/// The table.
#[derive(Debug, Clone)]
pub struct Table {
    client: aws_sdk_dynamodb::Client,
    name: String,
}

impl Table {
    /// The table of that name.
    #[must_use]
    pub const fn new(client: aws_sdk_dynamodb::Client, name: String) -> Self {
        Self { client, name }
    }
}
