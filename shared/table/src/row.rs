//! Rows: a value with its key and the version of its form.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use mailrail_domain::Timestamp;
use mailrail_engine::outage::Outage;
use serde::{Serialize, de::DeserializeOwned};

/// A row's attributes.
pub type Item = HashMap<String, AttributeValue>;

/// Partition and sort key.
pub type Key = (String, String);

/// Version of the rows' form. A row of another version is refused, not guessed at.
const SCHEMA: u16 = 1;

/// Attribute that tells the version.
const SCHEMA_ATTRIBUTE: &str = "schema";

/// A row with its key and version.
pub fn encode(key: Key, row: &impl Serialize) -> Result<Item, Outage> {
    let mut item: Item =
        serde_dynamo::to_item(row).map_err(|error| Outage::because("a row cannot be written", error))?;
    item.extend(key_of(key));
    item.insert(SCHEMA_ATTRIBUTE.to_owned(), number(SCHEMA));
    Ok(item)
}

/// Reads a row, or says which one cannot be read and why.
pub fn decode<T: DeserializeOwned>(item: Item) -> Result<T, Outage> {
    let name = name(&item);
    let schema = item.get(SCHEMA_ATTRIBUTE).and_then(|value| value.as_n().ok()).cloned().unwrap_or_default();
    if schema != SCHEMA.to_string() {
        return Err(Outage::new(format!(
            "the row {name} has the schema \"{schema}\"; this version reads {SCHEMA}. Run the version that wrote it, or \
             its migration"
        )));
    }
    serde_dynamo::from_item(item).map_err(|error| Outage::because(format!("the row {name} cannot be read"), error))
}

/// The attributes of a key.
#[must_use]
pub fn key_of((pk, sk): Key) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// Puts a row into a list.
#[must_use]
pub fn listed(mut item: Item, (list, place): Key) -> Item {
    item.insert("list_pk".to_owned(), text(list));
    item.insert("list_sk".to_owned(), text(place));
    item
}

/// Lets a row end by itself.
#[must_use]
pub fn expiring(mut item: Item, at: Timestamp) -> Item {
    item.insert("expires_at".to_owned(), number(at.timestamp()));
    item
}

/// A value of an attribute that is text.
pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A value of an attribute that is a number.
pub fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A text attribute of a row.
#[must_use]
pub fn text_of<'a>(item: &'a Item, attribute: &str) -> Option<&'a str> {
    item.get(attribute).and_then(|value| value.as_s().ok()).map(String::as_str)
}

/// A moment that sorts as text: milliseconds, always of the same width.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    format!("{:014}", at.timestamp_millis().max(0))
}

fn name(item: &Item) -> String {
    format!("{} / {}", text_of(item, "pk").unwrap_or("?"), text_of(item, "sk").unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_another_version_is_refused_by_name() {
        let mut item = encode(("MAILBOX#m".into(), "MAILBOX".into()), &HashMap::from([("n", 1)])).unwrap();
        item.insert(SCHEMA_ATTRIBUTE.to_owned(), number(7));
        let refusal = decode::<HashMap<String, u8>>(item).unwrap_err().to_string();
        assert!(refusal.contains("MAILBOX#m / MAILBOX") && refusal.contains("schema \"7\""), "{refusal}");
    }

    #[test]
    fn moments_sort_as_text() {
        let at = |second| moment(Timestamp::from_timestamp(second, 0).unwrap());
        assert!(at(5) < at(10) && at(10) < at(1_000_000_000) && at(1_000_000_000) < at(9_999_999_999));
        assert_eq!(moment(Timestamp::MIN_UTC), "00000000000000");
    }
}
