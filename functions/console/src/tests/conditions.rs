//! What a request may ask for, and on which condition: tags, filters that are known, and bodies that are objects.

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, header},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Console, TOKEN, profile};

/// The status of a request with this condition, and the headers of its answer.
async fn on_condition(console: &Console, method: Method, path: &str, if_match: Option<&str>) -> (u16, HeaderMap) {
    let mut request =
        Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("bearer {TOKEN}"));
    if let Some(tag) = if_match {
        request = request.header(header::IF_MATCH, tag);
    }
    let response = console.router.clone().oneshot(request.body(Body::from("{}")).unwrap()).await.unwrap();
    (response.status().as_u16(), response.headers().clone())
}

#[tokio::test]
async fn an_answer_has_a_tag_and_every_change_is_made_on_condition_of_it() {
    let console = Console::new();
    let profile = console.profile().await;
    let mailbox = console.mailbox(&profile, "m@example.test").await;
    let (mailbox, profile) = (format!("/v1/mailboxes/{mailbox}"), format!("/v1/profiles/{profile}"));
    for path in [mailbox.as_str(), &profile, "/v1/organization"] {
        let (status, headers) = on_condition(&console, Method::GET, path, None).await;
        let revision = console.get(path).await["revision"].to_string();
        assert_eq!((status, headers[header::ETAG].to_str().unwrap()), (200, format!("\"{revision}\"").as_str()));
        let (changed, _) = on_condition(&console, Method::PATCH, path, Some("\"17\", \"18\"")).await;
        assert_eq!(changed, 412, "{path}");
        let either = format!("\"17\", \"{revision}\"");
        assert_eq!(on_condition(&console, Method::PATCH, path, Some(&either)).await.0, 200, "{path}");
    }
    let enable = format!("{mailbox}/deliveries/incoming-email/enable");
    let run = format!("{mailbox}/deliveries/incoming-email/run");
    for (method, path) in
        [(Method::POST, &enable), (Method::POST, &run), (Method::DELETE, &mailbox), (Method::DELETE, &profile)]
    {
        assert_eq!(on_condition(&console, method, path, Some("\"0\"")).await.0, 412, "{path}");
    }
    let tag = on_condition(&console, Method::GET, &mailbox, None).await.1[header::ETAG].clone();
    assert_eq!(on_condition(&console, Method::DELETE, &mailbox, tag.to_str().ok()).await.0, 204);
}

#[tokio::test]
async fn whoever_is_not_signed_in_is_told_how_to() {
    let console = Console::new();
    let request = Request::builder().uri("/v1/profiles").body(Body::empty()).unwrap();
    let response = console.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 401);
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer realm=\"Mailrail\"");
}

#[tokio::test]
async fn no_question_is_answered_by_passing_over_a_part_of_it() {
    let console = Console::new();
    for (path, field) in [
        ("/v1/mailboxes?status=failing", "status"),
        ("/v1/alerts?level=error", "level"),
        ("/v1/notices?profile_id=p1", "profile_id"),
        ("/v1/audit?by=ann", "by"),
        ("/v1/quarantine?mailbox_id=m1", "mailbox_id"),
        ("/v1/profiles?name=x", "name"),
    ] {
        console.json(Method::GET, path, &Value::Null).await.problem(422, Some(field));
    }
    for path in [
        "/v1/mailboxes?profile_id=nobody",
        "/v1/alerts?mailbox_id=nobody",
        "/v1/alerts?profile_id=nobody",
        "/v1/mailboxes/nobody/emails",
        "/v1/mailboxes/nobody/quarantine",
    ] {
        console.json(Method::GET, path, &Value::Null).await.problem(404, None);
    }
}

#[tokio::test]
async fn a_list_is_no_object_and_problems_are_told_in_plain_words() {
    let console = Console::new();
    let id = console.profile().await;
    let fields = json!(["Positional", "user", "p@example.test", id, null, null, null, "none", "none", "none"]);
    console.json(Method::POST, "/v1/mailboxes", &fields).await.problem(422, Some("body"));
    let mut listed = profile();
    listed["incoming"] = json!(["imap", "mail.example.test", 993, "tls"]);
    console.json(Method::POST, "/v1/profiles", &listed).await.problem(422, Some("incoming"));
    let mut wrong = profile();
    wrong["incoming"]["port"] = json!("x");
    let problem = console.json(Method::POST, "/v1/profiles", &wrong).await.problem(422, Some("incoming.port"));
    let words = problem["detail"].as_str().unwrap();
    assert!(words.contains("a whole number from 0 to 65535") && !words.contains("u16"), "{words}");
    let patched = console.json(Method::PATCH, "/v1/organization", &json!({ "outages": [1] })).await;
    patched.problem(422, Some("outages"));
}

#[tokio::test]
async fn items_that_are_not_synchronized_yet_are_refused_in_plain_words() {
    let console = Console::new();
    let id = console.profile().await;
    let mailbox = console.mailbox(&id, "m@example.test").await;
    for action in ["enable", "run"] {
        let path = format!("/v1/mailboxes/{mailbox}/deliveries/appointments-contacts-tasks/{action}");
        let problem = console.json(Method::POST, &path, &Value::Null).await.problem(409, None);
        assert!(problem["detail"].as_str().unwrap().contains("not synchronized yet"), "{problem}");
    }
}
