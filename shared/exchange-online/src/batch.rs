//! Many small requests in one (Microsoft Graph, "JSON batching"), each part with an outcome of its own.

use mailrail_connect::{Failure, broken, retry_after};
use mailrail_domain::{Timestamp, words::evidence::Stage};
use reqwest::{
    Method,
    header::{HeaderMap, HeaderValue, RETRY_AFTER},
};
use serde_json::{Value, json};

use crate::call::{Mailbox, VERSION, refused};

/// Parts of one batch (Microsoft Graph: 20).
const PARTS_MAX: usize = 20;

/// A part: method and path.
pub(crate) type Part = (Method, String);

impl Mailbox {
    /// Sends the parts, in as few batches as possible, and returns the reply to each part, in order.
    pub(crate) async fn batch(
        &self,
        parts: &[Part],
        prefer: &str,
        stage: Stage,
        now: Timestamp,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let mut replies = Vec::new();
        for chunk in parts.chunks(PARTS_MAX) {
            let part = |(n, (method, path)): (usize, &Part)| {
                let url = path.strip_prefix(VERSION).unwrap_or(path);
                json!({ "id": n.to_string(), "method": method.as_str(), "url": url, "headers": { "Prefer": prefer } })
            };
            let requests: Vec<Value> = chunk.iter().enumerate().map(part).collect();
            let request = self.request(Method::POST, &format!("{VERSION}/$batch"));
            let reply: Value = self.json(request.json(&json!({ "requests": requests })), stage).await?;
            let mut outcomes: Vec<Option<Result<Value, Failure>>> = chunk.iter().map(|_| None).collect();
            for outcome in reply.get("responses").and_then(Value::as_array).into_iter().flatten() {
                // Parts come back in any order.
                let place = outcome["id"].as_str().and_then(|id| id.parse::<usize>().ok());
                if let Some(place) = place.and_then(|place| outcomes.get_mut(place)) {
                    *place = Some(of_part(outcome, stage, now));
                }
            }
            let missing = || Err(broken(stage, "a part of a batch has no reply"));
            replies.extend(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)));
        }
        Ok(replies)
    }
}

fn of_part(outcome: &Value, stage: Stage, now: Timestamp) -> Result<Value, Failure> {
    match outcome["status"].as_u64() {
        Some(200..=299) => Ok(outcome["body"].clone()),
        Some(status) => {
            let asked = outcome
                .pointer("/headers/Retry-After")
                .and_then(Value::as_str)
                .and_then(|text| HeaderValue::from_str(text).ok());
            let headers = HeaderMap::from_iter(asked.map(|value| (RETRY_AFTER, value)));
            let wait = retry_after(&headers, now);
            Err(Failure::Refused(refused(u16::try_from(status).unwrap_or_default(), &outcome["body"], wait)))
        }
        None => Err(broken(stage, "a part of a batch has no status")),
    }
}
