//! Bulk import of CSV and JSON lines: the good lines go in, every bad one is reported with its number and reason.

use axum::http::{HeaderMap, StatusCode, header};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::problem::Problem;

/// Lines of one import; a call is answered within the 30 seconds that the gateway allows.
const LINES_MAX: usize = 5_000;
/// Lines that are written at once.
const LINES_AT_ONCE: usize = 16;
/// Columns whose cells are numbers, by the last part of their name.
const NUMBERS: [&str; 4] =
    ["port", "minimum_polling_interval_minutes", "maximum_concurrent_connections", "connection_timeout_seconds"];
/// Columns whose cells are true or false.
const BOOLEANS: [&str; 3] = ["delete_after_processing", "autodiscover", "use_impersonation"];

/// What came of an import.
#[derive(Debug, Serialize, ToSchema)]
pub struct Imported {
    /// Lines that went in.
    pub created: usize,
    /// Lines that did not.
    pub errors: Vec<LineError>,
}

/// A line that did not go in.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LineError {
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

/// Reads the lines of a body and creates each.
pub async fn import<F>(headers: &HeaderMap, body: &[u8], create: impl Fn(Value) -> F) -> Result<Imported, Problem>
where
    F: Future<Output = Result<(), Problem>>,
{
    let lines = lines(headers, body)?;
    let create = &create;
    let results = stream::iter(lines).map(|(line, value)| async move {
        let created = match value {
            Ok(value) => create(value).await,
            Err(problem) => Err(problem),
        };
        created.err().map(|problem| LineError::new(line, problem))
    });
    let results: Vec<Option<LineError>> = results.buffered(LINES_AT_ONCE).collect().await;
    let created = results.iter().filter(|result| result.is_none()).count();
    Ok(Imported { created, errors: results.into_iter().flatten().collect() })
}

type Line = (u64, Result<Value, Problem>);

fn lines(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Line>, Problem> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let lines = match media_type.split(';').next().unwrap_or_default().trim() {
        "text/csv" => csv_lines(body)?,
        "application/jsonl" | "application/x-ndjson" => json_lines(body),
        other => {
            let detail = format!("\"{}\" cannot be imported.", mailrail_domain::words::invalid::excerpt(other));
            let remedy = Some("Send text/csv or application/jsonl.".to_owned());
            let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", detail);
            return Err(Problem { remedy, ..problem });
        }
    };
    if lines.len() > LINES_MAX {
        let detail = format!("The import has {} lines; at most {LINES_MAX} are taken at once.", lines.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "Too many lines", detail));
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

fn csv_lines(body: &[u8]) -> Result<Vec<Line>, Problem> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(body);
    let columns = reader.headers().map_err(|error| unreadable(&error.to_string()))?.clone();
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(lines),
            Ok(true) => {
                let line = record.position().map_or(0, csv::Position::line);
                lines.push((line, object(&columns, &record)));
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
fn object(columns: &csv::StringRecord, record: &csv::StringRecord) -> Result<Value, Problem> {
    let mut fields = Map::new();
    for (column, cell) in columns.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        let (outer, inner) = column.split_once('.').map_or((column, None), |(outer, inner)| (outer, Some(inner)));
        let value = cell_value(column, inner.unwrap_or(outer), cell)?;
        match inner {
            None => {
                fields.insert(outer.to_owned(), value);
            }
            Some(inner) => {
                let within = fields.entry(outer).or_insert_with(|| Value::Object(Map::new()));
                if let Some(within) = within.as_object_mut() {
                    within.insert(inner.to_owned(), value);
                }
            }
        }
    }
    Ok(Value::Object(fields))
}

fn cell_value(column: &str, name: &str, cell: &str) -> Result<Value, Problem> {
    let wrong = |what: &str| {
        let problem = format!("\"{}\" is not {what}", mailrail_domain::words::invalid::excerpt(cell));
        Problem::from(mailrail_domain::words::invalid::Invalid::new(column, problem, format!("Give {what}")))
    };
    if NUMBERS.contains(&name) {
        return cell.parse::<u64>().map(Value::from).map_err(|_| wrong("a whole number"));
    }
    if BOOLEANS.contains(&name) {
        return cell.parse::<bool>().map(Value::from).map_err(|_| wrong("true or false"));
    }
    Ok(Value::from(cell))
}

fn unreadable(why: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "The line cannot be read", format!("The line cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(media_type: &'static str, body: &[u8]) -> Vec<(u64, Result<Value, String>)> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, media_type.parse().unwrap())]);
        let lines = lines(&headers, body).unwrap();
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
    fn json_lines_are_numbered_and_blank_ones_passed_over() {
        let lines = read("application/jsonl", b"{\"a\":1}\n\n{oops}\r\n{\"b\":2}");
        let numbers: Vec<u64> = lines.iter().map(|(line, _)| *line).collect();
        assert_eq!(numbers, [1, 3, 4]);
        assert!(lines[1].1.is_err() && lines[2].1.is_ok());
    }
}
