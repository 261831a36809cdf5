//! The columns of an import, and what their cells are, as the schema of the request's type has them.
//!
//! The type's fields stand in the type alone: a further field of it is a column without anything being done here.

use std::collections::BTreeMap;

use mailrail_domain::words::invalid::{Invalid, excerpt};
use serde_json::Value;
use utoipa::ToSchema;

/// What the cells of a column are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Text, dates among it.
    Text,
    /// A whole number.
    Number,
    /// True or false.
    Boolean,
    /// Several of these.
    List(Box<Self>),
}

/// The columns of a type: the paths of its fields, those of objects within it with dots.
#[derive(Debug)]
pub(crate) struct Columns {
    schema: String,
    cells: BTreeMap<String, Cell>,
}

impl Columns {
    /// The columns of `T`.
    pub(crate) fn of<T: ToSchema>() -> Self {
        let mut schemas = Vec::new();
        T::schemas(&mut schemas);
        let json = |schema: &_| serde_json::to_value(schema).unwrap_or_default();
        let named = schemas.iter().map(|(name, schema)| (name.clone(), json(schema))).collect();
        let mut cells = BTreeMap::new();
        collect("", &json(&T::schema()), &named, &mut cells);
        Self { schema: T::name().into_owned(), cells }
    }

    /// What the cells of a column are, or the refusal of a column that the type has no field for.
    pub(crate) fn cell(&self, column: &str) -> Result<&Cell, Invalid> {
        self.cells.get(column).ok_or_else(|| {
            let remedy = format!(
                "Name the column after a field of {} in /openapi.json, a field within another by both names with a dot",
                self.schema
            );
            Invalid::new(excerpt(column), "there is no such column", remedy)
        })
    }
}

/// The schema itself, where it is a reference or one that may be null besides.
fn resolved<'a>(schema: &'a Value, named: &'a BTreeMap<String, Value>) -> &'a Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return named.get(name).map_or(schema, |schema| resolved(schema, named));
    }
    let choices = schema["oneOf"].as_array();
    let other = choices.and_then(|choices| choices.iter().find(|choice| choice["type"] != "null"));
    other.map_or(schema, |schema| resolved(schema, named))
}

/// Adds the columns of a schema whose path is `path`.
fn collect(path: &str, schema: &Value, named: &BTreeMap<String, Value>, cells: &mut BTreeMap<String, Cell>) {
    let schema = resolved(schema, named);
    match schema["properties"].as_object() {
        Some(properties) => {
            for (name, schema) in properties {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(&path, schema, named, cells);
            }
        }
        None => {
            cells.insert(path.to_owned(), cell(schema, named));
        }
    }
}

fn cell(schema: &Value, named: &BTreeMap<String, Value>) -> Cell {
    let schema = resolved(schema, named);
    let is = |name: &str| {
        let kinds = &schema["type"];
        kinds == name || kinds.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == name))
    };
    match () {
        () if is("array") => Cell::List(Box::new(cell(&schema["items"], named))),
        () if is("integer") => Cell::Number,
        () if is("boolean") => Cell::Boolean,
        () => Cell::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{mailboxes::MailboxInput, profiles::ProfileInput};

    #[test]
    fn every_field_is_a_column_of_its_kind() {
        let profiles = Columns::of::<ProfileInput>();
        for (column, cell) in [
            ("name", Cell::Text),
            ("server_type", Cell::Text),
            ("exchange_version", Cell::Text),
            ("password", Cell::Text),
            ("process_emails_received_after", Cell::Text),
            ("incoming.host", Cell::Text),
            ("incoming.protocol", Cell::Text),
            ("incoming.port", Cell::Number),
            ("outgoing.port", Cell::Number),
            ("connection_timeout_seconds", Cell::Number),
            ("outages.hold_after_mailboxes", Cell::Number),
            ("outages.recovery_probe", Cell::Text),
            ("autodiscover", Cell::Boolean),
            ("move_undeliverable", Cell::Boolean),
            ("tracked_folders", Cell::List(Box::new(Cell::Text))),
        ] {
            assert_eq!(profiles.cell(column), Ok(&cell), "{column}");
        }
        let mailboxes = Columns::of::<MailboxInput>();
        assert_eq!(mailboxes.cell("incoming_email"), Ok(&Cell::Text));
        for column in ["outages", "incoming", "incoming.", "Name", "", "id"] {
            let refusal = profiles.cell(column).unwrap_err();
            assert!(refusal.remedy.contains("ProfileInput"), "{refusal}");
        }
    }
}
