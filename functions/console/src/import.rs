//! Bulk import of CSV and JSON lines: the good lines go in, every bad one is reported with its number and reason.

use axum::http::{HeaderMap, StatusCode, header};
use futures_util::{StreamExt, stream};
use mailrail_domain::words::invalid::{Invalid, excerpt};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    body::from_value,
    columns::{Cell, Columns},
    problem::Problem,
};

/// Lines of one import; a call is answered within the 30 seconds that the gateway allows.
const LINES_MAX: usize = 5_000;
/// Lines that are written at once.
const LINES_AT_ONCE: usize = 16;
/// What stands between the values of a list in a cell.
const LIST_SEPARATOR: char = ';';

/// What came of an import.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Imported {
    /// Lines that went in.
    pub created: usize,
    /// Lines that did not.
    pub errors: Vec<LineError>,
}

/// A line that did not go in.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LineError {
    /// Its number, the first line being 1.
    pub line: u64,
    /// The field that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong, and what to do.
    pub detail: String,
}

impl LineError {
    fn new(line: u64, problem: Problem) -> Self {
        let remedy = problem.remedy.map_or(String::new(), |remedy| format!(". {remedy}"));
        Self { line, field: problem.field, detail: problem.detail + &remedy }
    }
}

/// Reads the lines of a body into their type and creates each.
pub(crate) async fn import<T, F>(headers: &HeaderMap, body: &[u8], create: impl Fn(T) -> F) -> Result<Imported, Problem>
where
    T: DeserializeOwned + ToSchema,
    F: Future<Output = Result<(), Problem>>,
{
    let lines = lines(headers, body, &Columns::of::<T>())?;
    let create = &create;
    let results = stream::iter(lines).map(|(line, value)| async move {
        let created = match value.and_then(from_value) {
            Ok(input) => create(input).await,
            Err(problem) => Err(problem),
        };
        created.err().map(|problem| LineError::new(line, problem))
    });
    let results: Vec<Option<LineError>> = results.buffered(LINES_AT_ONCE).collect().await;
    let created = results.iter().filter(|result| result.is_none()).count();
    Ok(Imported { created, errors: results.into_iter().flatten().collect() })
}

type Line = (u64, Result<Value, Problem>);

fn lines(headers: &HeaderMap, body: &[u8], columns: &Columns) -> Result<Vec<Line>, Problem> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let lines = match media_type.split(';').next().unwrap_or_default().trim() {
        "text/csv" => csv_lines(body, columns)?,
        "application/jsonl" | "application/x-ndjson" => json_lines(body),
        other => {
            let detail = format!("\"{}\" cannot be imported.", excerpt(other));
            let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", detail);
            return Err(problem.with_remedy("Send text/csv or application/jsonl."));
        }
    };
    if lines.len() > LINES_MAX {
        let detail = format!("The import has {} lines; at most {LINES_MAX} are taken at once.", lines.len());
        let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Too many lines", detail);
        return Err(problem.with_remedy("Send the lines in several imports."));
    }
    Ok(lines)
}

fn json_lines(body: &[u8]) -> Vec<Line> {
    let lines = (1..).zip(body.split(|byte| *byte == b'\n'));
    let filled = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    filled
        .map(|(number, line)| (number, serde_json::from_slice(line).map_err(|e| unreadable(&e.to_string()))))
        .collect()
}

fn csv_lines(body: &[u8], columns: &Columns) -> Result<Vec<Line>, Problem> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(body);
    let names = reader.headers().map_err(|error| unreadable(&error.to_string()))?.clone();
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(lines),
            Ok(true) => {
                let line = record.position().map_or(0, csv::Position::line);
                lines.push((line, object(columns, &names, &record)));
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                let problem = match error.kind() {
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        unreadable(&format!("it has {len} cells where the first line has {expected_len}"))
                    }
                    csv::ErrorKind::Utf8 { .. } => unreadable("it is not UTF-8"),
                    _ => unreadable(&error.to_string()),
                };
                lines.push((line, Err(problem)));
                if lines.len() > LINES_MAX {
                    return Ok(lines);
                }
            }
        }
    }
}

/// The object of a line: a column named `incoming.host` is the field `host` of `incoming`; an empty cell is no field.
fn object(columns: &Columns, names: &csv::StringRecord, record: &csv::StringRecord) -> Result<Value, Problem> {
    let mut fields = Map::new();
    for (name, cell) in names.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        let value = cell_value(name, columns.cell(name)?, cell)?;
        put(&mut fields, name, value);
    }
    Ok(Value::Object(fields))
}

/// Puts a value where its path leads.
fn put(fields: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((outer, inner)) = path.split_once('.') else {
        fields.insert(path.to_owned(), value);
        return;
    };
    let within = fields.entry(outer).or_insert_with(|| Value::Object(Map::new()));
    if let Some(within) = within.as_object_mut() {
        put(within, inner, value);
    }
}

fn cell_value(column: &str, kind: &Cell, cell: &str) -> Result<Value, Invalid> {
    let wrong =
        |what: &str| Invalid::new(column, format!("\"{}\" is not {what}", excerpt(cell)), format!("Give {what}"));
    match kind {
        Cell::Text => Ok(Value::from(cell)),
        Cell::Number => cell.parse::<u64>().map(Value::from).map_err(|_| wrong("a whole number")),
        Cell::Boolean if cell.eq_ignore_ascii_case("true") => Ok(Value::from(true)),
        Cell::Boolean if cell.eq_ignore_ascii_case("false") => Ok(Value::from(false)),
        Cell::Boolean => Err(wrong("true or false")),
        Cell::List(of) => {
            let values = cell.split(LIST_SEPARATOR).map(str::trim).filter(|value| !value.is_empty());
            values.map(|value| cell_value(column, of, value)).collect()
        }
    }
}

fn unreadable(why: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "The line cannot be read", format!("The line cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize, ToSchema)]
    #[expect(dead_code, reason = "only its fields' names and types are read")]
    struct Input {
        name: String,
        incoming: Option<Server>,
        is_on: Option<bool>,
        folders: Vec<String>,
        a: Option<u8>,
        b: Option<u8>,
    }

    #[derive(Deserialize, ToSchema)]
    #[expect(dead_code, reason = "only its fields' names and types are read")]
    struct Server {
        host: String,
        port: u16,
    }

    fn read(media_type: &'static str, body: &[u8]) -> Vec<(u64, Result<Value, String>)> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, media_type.parse().unwrap())]);
        let lines = lines(&headers, body, &Columns::of::<Input>()).unwrap();
        lines.into_iter().map(|(line, value)| (line, value.map_err(|problem| problem.detail))).collect()
    }

    #[test]
    fn csv_columns_become_fields_and_bad_lines_are_numbered() {
        let body = b"name,incoming.host,incoming.port\nA,h,993\nB,h\nC,h,x\nD,,\n\xff,h,1\n";
        let lines = read("text/csv", body);
        assert_eq!(lines[0], (2, Ok(json!({ "name": "A", "incoming": { "host": "h", "port": 993 } }))));
        assert_eq!(lines[1].0, 3);
        assert!(lines[1].1.as_ref().unwrap_err().contains("2 cells"));
        assert!(lines[2].1.as_ref().unwrap_err().contains("not a whole number"));
        assert_eq!(lines[3], (5, Ok(json!({ "name": "D" }))));
        assert!(lines[4].1.as_ref().unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn cells_are_read_as_what_their_columns_are() {
        let lines = read("text/csv", b"name,is_on,folders\n1,true,A;B/C; D ;\ntrue,FALSE,7\nC,yes,\n");
        assert_eq!(lines[0].1, Ok(json!({ "name": "1", "is_on": true, "folders": ["A", "B/C", "D"] })));
        assert_eq!(lines[1].1, Ok(json!({ "name": "true", "is_on": false, "folders": ["7"] })));
        assert_eq!(lines[2], (4, Err("\"yes\" is not true or false".to_owned())));
    }

    #[tokio::test]
    async fn an_unknown_column_is_named_with_the_line_and_the_remedy() {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, "text/csv".parse().unwrap())]);
        let body = b"name,folders,colour,incoming,\nA,x,blue,,\nB,x,,,\nC,x,,h,\nD,x,,,1\n";
        let imported = import(&headers, body, |_: Input| async { Ok(()) }).await.unwrap();
        assert_eq!(imported.created, 1, "an empty cell is no field");
        let errors: Vec<_> = imported.errors.iter().map(|e| (e.line, e.field.as_deref().unwrap_or("-"))).collect();
        assert_eq!(errors, [(2, "colour"), (4, "incoming"), (5, "")]);
        for error in &imported.errors {
            assert!(error.detail.contains("there is no such column. Name the column after a field"), "{error:?}");
        }
    }

    #[test]
    fn json_lines_are_numbered_and_blank_ones_passed_over() {
        let lines = read("application/jsonl", b"{\"a\":1}\n\n{oops}\r\n{\"b\":2}");
        let numbers: Vec<u64> = lines.iter().map(|(line, _)| *line).collect();
        assert_eq!(numbers, [1, 3, 4]);
        assert!(lines[1].1.is_err() && lines[2].1.is_ok());
    }
}
