//! The requests that the test server answers.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Query, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{
    GraphServer, Mailbox, Message, Tenant, sign_in,
    state::{Change, Fault},
};
use crate::build::clock;

/// Requests of an application for one mailbox that may be under way at once.
const IN_FLIGHT_MAX: usize = 4;
/// Largest request (Microsoft Graph: 4 MB).
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages of a page where the client asks for no other number.
const PAGE_MESSAGES: usize = 10;
/// Parts of a batch.
const PARTS_MAX: usize = 20;

type Reply = Result<Response, Refusal>;
type Queries = Query<BTreeMap<String, String>>;

/// An error as Graph sends it.
pub(super) struct Refusal(u16, &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, code) = self;
        let body = json!({ "error": {
            "code": code,
            "message": format!("The server says {code}."),
            "innerError": { "request-id": "00000000-0000-0000-0000-000000000000", "date": "2026-01-01T00:00:00" },
        } });
        (StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), Json(body)).into_response()
    }
}

const ITEM_NOT_FOUND: Refusal = Refusal(404, "ErrorItemNotFound");
const FOLDER_NOT_FOUND: Refusal = Refusal(404, "ErrorFolderNotFound");
const BAD_REQUEST: Refusal = Refusal(400, "ErrorInvalidRequest");

/// Everything that the server answers.
pub(super) fn router(server: GraphServer) -> Router {
    let mailbox = Router::new()
        .route("/users/{user}/mailFolders/{folder}", get(folder))
        .route("/users/{user}/mailFolders/{folder}/childFolders", get(child_folders))
        .route("/users/{user}/mailFolders/{folder}/messages", get(messages_of_folder))
        .route("/users/{user}/mailFolders/{folder}/messages/delta", get(delta))
        .route("/users/{user}/messages", post(create))
        .route("/users/{user}/messages/{id}", get(message).delete(delete).patch(change))
        .route("/users/{user}/messages/{id}/$value", get(mime))
        .route("/users/{user}/messages/{id}/move", post(move_message))
        .route("/users/{user}/messages/{id}/send", post(send))
        .route("/users/{user}/messages/{id}/attachments", get(attachments).post(attach))
        .route("/users/{user}/messages/{id}/attachments/createUploadSession", post(begin_upload))
        .layer(from_fn_with_state(server.clone(), guarded));
    let batched = mailbox.clone().with_state(server.clone());
    let batch = move |State(server): State<GraphServer>, headers: HeaderMap, Json(asked): Json<Value>| {
        batch(server, headers, asked, batched.clone())
    };
    Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(sign_in::token))
        .nest("/v1.0", mailbox.route("/$batch", post(batch)))
        .route("/upload/{session}", put(upload))
        .route("/control/{user}/{folder}", get(look_into).post(put_into))
        .fallback(|| async { Refusal(501, "NotImplemented") })
        .layer(axum::extract::DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .layer(from_fn_with_state(server.clone(), faulty))
        .with_state(server)
}

/// Answers with a refusal that was put in for this request, if there is one.
async fn faulty(State(server): State<GraphServer>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let fault = {
        let mut tenant = server.tenant();
        tenant.calls.push((request.method().to_string(), path.clone()));
        due(&mut tenant, &path)
    };
    let Some(fault) = fault else {
        return next.run(request).await;
    };
    if fault.takes_effect {
        next.run(request).await;
    }
    let kind = if fault.body.starts_with('{') { "application/json" } else { "text/html" };
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = (status, [(header::CONTENT_TYPE, kind)], fault.body).into_response();
    if let Some(wait) = fault.retry_after.and_then(|wait| wait.parse().ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}

fn due(tenant: &mut Tenant, path: &str) -> Option<Fault> {
    let found = tenant.faults.iter_mut().position(|fault| {
        let is_meant = path.contains(&fault.path);
        let is_due = is_meant && fault.after == 0;
        fault.after -= usize::from(is_meant && !is_due);
        is_due
    })?;
    tenant.faults.remove(found)
}

/// Lets a request through that has a token, for a mailbox that its application may use, within the limits.
async fn guarded(State(server): State<GraphServer>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    let needed = if path.ends_with("/send") { "Mail.Send" } else { "Mail.ReadWrite" };
    let user = match admitted(&mut server.tenant(), &token, &path, needed) {
        Ok(user) => user,
        Err((refusal, wait)) => {
            let mut response = refusal.into_response();
            if let Some(wait) = wait {
                response.headers_mut().insert(header::RETRY_AFTER, wait.into());
            }
            return response;
        }
    };
    // Long enough under way for others to come meanwhile.
    tokio::task::yield_now().await;
    let response = next.run(request).await;
    if let Some(user) = user
        && let Some(mailbox) = server.tenant().mailboxes.get_mut(&user)
    {
        mailbox.in_flight -= 1;
    }
    response
}

type Denied = (Refusal, Option<u32>);

fn admitted(tenant: &mut Tenant, token: &str, path: &str, needed: &str) -> Result<Option<String>, Denied> {
    let refuse = |status, code| Err((Refusal(status, code), None));
    let Some(client) = tenant.tokens.get(token).cloned() else {
        return refuse(401, "InvalidAuthenticationToken");
    };
    let Some(application) = tenant.applications.get(&client).cloned() else {
        return refuse(401, "InvalidAuthenticationToken");
    };
    let path = path.strip_prefix("/v1.0").unwrap_or(path);
    let Some(user) = path.strip_prefix("/users/").and_then(|rest| rest.split('/').next()) else {
        return Ok(None);
    };
    let user = user.replace("%40", "@").to_lowercase();
    if !application.roles.iter().any(|role| role == needed)
        || application.scope.is_some_and(|scope| !scope.contains(&user))
    {
        return refuse(403, "ErrorAccessDenied");
    }
    tenant.seen += 1;
    let (each, wait) = tenant.throttle_each;
    if each > 0 && tenant.seen.is_multiple_of(each) {
        return Err((Refusal(429, "ApplicationThrottled"), Some(wait)));
    }
    let Some(mailbox) = tenant.mailboxes.get_mut(&user) else {
        return refuse(404, "ErrorInvalidUser");
    };
    if mailbox.is_disabled {
        return refuse(404, "MailboxNotEnabledForRESTAPI");
    }
    if mailbox.in_flight >= IN_FLIGHT_MAX {
        return Err((Refusal(429, "MailboxConcurrency"), Some(1)));
    }
    mailbox.requests += 1;
    mailbox.in_flight += 1;
    mailbox.in_flight_most = mailbox.in_flight_most.max(mailbox.in_flight);
    Ok(Some(user))
}

fn is_immutable(headers: &HeaderMap) -> bool {
    headers
        .get_all("prefer")
        .iter()
        .any(|value| value.to_str().is_ok_and(|text| text.contains("IdType=\"ImmutableId\"")))
}

/// Does something with a mailbox that is there.
fn with<T>(
    server: &GraphServer,
    user: &str,
    act: impl FnOnce(&mut Mailbox) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut tenant = server.tenant();
    act(tenant.mailboxes.get_mut(&user.to_lowercase()).ok_or(Refusal(404, "ErrorInvalidUser"))?)
}

fn ok(value: Value) -> Reply {
    Ok(Json(value).into_response())
}

async fn folder(State(server): State<GraphServer>, Path((user, id)): Path<(String, String)>) -> Reply {
    with(&server, &user, |mailbox| {
        let (name, _) = mailbox.folders.get(&id).ok_or(FOLDER_NOT_FOUND)?;
        ok(json!({ "id": id, "displayName": name, "totalItemCount": mailbox.of_folder(&id).len() }))
    })
}

async fn child_folders(
    State(server): State<GraphServer>,
    Path((user, id)): Path<(String, String)>,
    Query(query): Queries,
) -> Reply {
    let wanted = query.get("$filter").and_then(|filter| quoted(filter, "displayName eq "));
    with(&server, &user, |mailbox| {
        let children = mailbox.folders.iter().filter(|(_, (name, parent))| {
            *parent == id && wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(name))
        });
        let found: Vec<Value> = children.map(|(id, (name, _))| json!({ "id": id, "displayName": name })).collect();
        ok(json!({ "value": found }))
    })
}

/// The text of a comparison of OData.
fn quoted(filter: &str, beginning: &str) -> Option<String> {
    let text = filter.strip_prefix(beginning)?.strip_prefix('\'')?.strip_suffix('\'')?;
    Some(text.replace("''", "'"))
}

async fn messages_of_folder(
    State(server): State<GraphServer>,
    Path((user, id)): Path<(String, String)>,
    Query(query): Queries,
    headers: HeaderMap,
) -> Reply {
    let wanted = query.get("$filter").and_then(|filter| quoted(filter, "internetMessageId eq "));
    let top = query.get("$top").and_then(|top| top.parse().ok()).unwrap_or(PAGE_MESSAGES);
    with(&server, &user, |mailbox| {
        if !mailbox.folders.contains_key(&id) {
            return Err(FOLDER_NOT_FOUND);
        }
        let found =
            mailbox.of_folder(&id).into_iter().filter(|message| wanted.is_none() || message.message_id() == wanted);
        let found: Vec<Value> = found.take(top).map(|message| shown(message, is_immutable(&headers))).collect();
        ok(json!({ "value": found }))
    })
}

fn shown(message: &Message, is_immutable: bool) -> Value {
    let mut shown = json!({
        "@odata.etag": "W/\"1\"",
        "id": message.name(is_immutable),
        "parentFolderId": message.folder,
        "isDraft": message.is_draft,
        "internetMessageId": message.message_id(),
    });
    if let Some(received) = &message.received {
        shown["receivedDateTime"] = json!(received);
    }
    shown
}

/// A round of a delta query: `$deltatoken` and `$skiptoken` are generation, folder's log from, and the round's end.
async fn delta(
    State(server): State<GraphServer>,
    Path((user, folder)): Path<(String, String)>,
    Query(query): Queries,
    headers: HeaderMap,
) -> Reply {
    let preferences: Vec<&str> = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()).collect();
    let size =
        preferences.iter().flat_map(|text| text.split(", ")).find_map(|one| one.strip_prefix("odata.maxpagesize="));
    let size: usize = size.and_then(|size| size.parse().ok()).unwrap_or(PAGE_MESSAGES);
    let origin = server.origin();
    with(&server, &user, |mailbox| {
        if !mailbox.folders.contains_key(&folder) {
            return Err(FOLDER_NOT_FOUND);
        }
        let token = query.get("$deltatoken").or_else(|| query.get("$skiptoken"));
        let (from, only_created, with_size) = match token {
            None => {
                let expand = query.get("$expand").is_some_and(|expand| expand.contains("Integer 0xe08"));
                (0, query.get("changeType").is_some_and(|kind| kind == "created"), expand)
            }
            Some(token) => {
                let parts: Vec<&str> = token.split('.').collect();
                let [generation, from, kind, size] = parts[..] else { return Err(BAD_REQUEST) };
                if generation.parse() != Ok(mailbox.generation) {
                    return Err(Refusal(410, "SyncStateNotFound"));
                }
                (from.parse().map_err(|_| BAD_REQUEST)?, kind == "created", size == "size")
            }
        };
        let mut value = Vec::new();
        let mut at: usize = from;
        while at < mailbox.log.len() && value.len() < size {
            let (in_folder, id, change) = &mailbox.log[at];
            at += 1;
            if *in_folder != folder || (only_created && *change != Change::Created) {
                continue;
            }
            match mailbox.messages.get(id).filter(|message| message.folder == folder) {
                Some(message) => {
                    let mut entry = shown(message, is_immutable(&headers));
                    if with_size {
                        let size = (message.mime.len() * 3 / 4).to_string();
                        entry["singleValueExtendedProperties"] = json!([{ "id": "Integer 0xe08", "value": size }]);
                    }
                    value.push(entry);
                }
                None if only_created => {}
                None => value.push(json!({ "id": id, "@removed": { "reason": "deleted" } })),
            }
        }
        let name = if at < mailbox.log.len() { ("nextLink", "skiptoken") } else { ("deltaLink", "deltatoken") };
        let kind = if only_created { "created" } else { "all" };
        let size = if with_size { "size" } else { "none" };
        let link = format!(
            "{origin}/v1.0/users/{user}/mailFolders/{folder}/messages/delta?${}={}.{at}.{kind}.{size}",
            name.1, mailbox.generation
        );
        let mut page = json!({ "value": value });
        page[format!("@odata.{}", name.0)] = json!(link);
        ok(page)
    })
}

async fn message(
    State(server): State<GraphServer>,
    Path((user, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Reply {
    with(&server, &user, |mailbox| {
        let id = mailbox.resolve(&id).ok_or(ITEM_NOT_FOUND)?;
        ok(shown(&mailbox.messages[&id], is_immutable(&headers)))
    })
}

async fn mime(State(server): State<GraphServer>, Path((user, id)): Path<(String, String)>) -> Reply {
    let content = with(&server, &user, |mailbox| {
        let id = mailbox.resolve(&id).ok_or(ITEM_NOT_FOUND)?;
        Ok(mailbox.messages[&id].mime.clone())
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain")], content).into_response())
}

async fn delete(State(server): State<GraphServer>, Path((user, id)): Path<(String, String)>) -> Reply {
    with(&server, &user, |mailbox| {
        let id = mailbox.resolve(&id).ok_or(ITEM_NOT_FOUND)?;
        mailbox.delete(&id);
        Ok(StatusCode::NO_CONTENT.into_response())
    })
}

async fn change(
    State(server): State<GraphServer>,
    Path((user, id)): Path<(String, String)>,
    headers: HeaderMap,
    Json(_): Json<Value>,
) -> Reply {
    with(&server, &user, |mailbox| {
        let id = mailbox.resolve(&id).ok_or(ITEM_NOT_FOUND)?;
        mailbox.touch(&id);
        ok(shown(&mailbox.messages[&id], is_immutable(&headers)))
    })
}

async fn move_message(
    State(server): State<GraphServer>,
    Path((user, id)): Path<(String, String)>,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Reply {
    with(&server, &user, |mailbox| {
        let id = mailbox.resolve(&id).ok_or(ITEM_NOT_FOUND)?;
        let to = asked["DestinationId"].as_str().or_else(|| asked["destinationId"].as_str()).ok_or(BAD_REQUEST)?;
        if !mailbox.folders.contains_key(to) {
            return Err(FOLDER_NOT_FOUND);
        }
        mailbox.move_to(&id, to);
        Ok((StatusCode::CREATED, Json(shown(&mailbox.messages[&id], is_immutable(&headers)))).into_response())
    })
}

/// Makes a draft of MIME in base64. Of fields, which Graph takes as well, no client of ours makes one.
async fn create(State(server): State<GraphServer>, Path(user): Path<String>, headers: HeaderMap, body: Bytes) -> Reply {
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "text/plain") {
        return Err(Refusal(501, "NotImplemented"));
    }
    let mime = STANDARD.decode(&body).map_err(|_| Refusal(400, "ErrorMimeContentInvalidBase64String"))?;
    let draft = Message { mime, is_draft: true, ..Message::default() };
    with(&server, &user, |mailbox| {
        let id = mailbox.insert("drafts", draft);
        Ok((StatusCode::CREATED, Json(shown(&mailbox.messages[&id], is_immutable(&headers)))).into_response())
    })
}

async fn send(State(server): State<GraphServer>, Path((user, id)): Path<(String, String)>) -> Reply {
    let id = with(&server, &user, |mailbox| mailbox.resolve(&id).ok_or(ITEM_NOT_FOUND))?;
    let received = clock().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let user = user.to_lowercase();
    let mut tenant = server.tenant();
    let recipients = tenant.mailbox(&user).messages[&id].composed();
    if (Message { mime: recipients, ..Message::default() }).recipients().is_empty() {
        return Err(Refusal(400, "ErrorInvalidRecipients"));
    }
    if tenant.send(&user, &id, received) { Ok(StatusCode::ACCEPTED.into_response()) } else { Err(ITEM_NOT_FOUND) }
}

async fn attachments(State(server): State<GraphServer>, Path((user, id)): Path<(String, String)>) -> Reply {
    with(&server, &user, |mailbox| {
        let id = mailbox.resolve(&id).ok_or(ITEM_NOT_FOUND)?;
        let listed = mailbox.messages[&id].attachments.iter().enumerate();
        let listed: Vec<Value> = listed.map(|(n, one)| json!({ "id": n.to_string(), "name": one["name"] })).collect();
        ok(json!({ "value": listed }))
    })
}

async fn attach(
    State(server): State<GraphServer>,
    Path((user, id)): Path<(String, String)>,
    Json(asked): Json<Value>,
) -> Reply {
    with(&server, &user, |mailbox| {
        let id = mailbox.resolve(&id).ok_or(ITEM_NOT_FOUND)?;
        let draft = mailbox.messages.get_mut(&id).filter(|message| message.is_draft).ok_or(ITEM_NOT_FOUND)?;
        draft.attachments.push(asked.clone());
        Ok((StatusCode::CREATED, Json(json!({ "id": "1", "name": asked["name"] }))).into_response())
    })
}

async fn begin_upload(
    State(server): State<GraphServer>,
    Path((user, id)): Path<(String, String)>,
    Json(asked): Json<Value>,
) -> Reply {
    let id = with(&server, &user, |mailbox| mailbox.resolve(&id).ok_or(ITEM_NOT_FOUND))?;
    let own = server.origin();
    let mut tenant = server.tenant();
    let origin = tenant.uploads_at.clone().unwrap_or(own);
    let name = format!("{}", tenant.uploads.len() + 1);
    tenant.uploads.insert(name.clone(), (user.to_lowercase(), id, asked["AttachmentItem"].clone(), Vec::new()));
    ok(json!({
        "uploadUrl": format!("{origin}/upload/{name}"),
        "expirationDateTime": "2099-01-01T00:00:00Z",
        "nextExpectedRanges": ["0-"],
    }))
}

/// Takes a piece of an attachment. Its address is signed in itself: a token here has gone astray, and is refused.
async fn upload(
    State(server): State<GraphServer>,
    Path(session): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(Refusal(401, "TokenWhereNoneBelongs"));
    }
    let range = headers.get("content-range").and_then(|range| range.to_str().ok()).unwrap_or_default();
    let (piece, total) = range.strip_prefix("bytes ").and_then(|range| range.split_once('/')).ok_or(BAD_REQUEST)?;
    let first: usize = piece.split('-').next().and_then(|first| first.parse().ok()).ok_or(BAD_REQUEST)?;
    let total: usize = total.parse().map_err(|_| BAD_REQUEST)?;
    let mut tenant = server.tenant();
    let (user, id, announced, so_far) = tenant.uploads.get_mut(&session).ok_or(ITEM_NOT_FOUND)?;
    if so_far.len() != first || announced["size"] != total {
        return Err(Refusal(416, "InvalidRange"));
    }
    so_far.extend_from_slice(&body);
    if so_far.len() < total {
        let next = format!("{}-", so_far.len());
        return ok(json!({ "expirationDateTime": "2099-01-01T00:00:00Z", "nextExpectedRanges": [next] }));
    }
    let (user, id) = (user.clone(), id.clone());
    let mut attachment = announced.clone();
    attachment["contentBytes"] = json!(STANDARD.encode(&*so_far));
    let draft = tenant.mailbox(&user).messages.get_mut(&id).ok_or(ITEM_NOT_FOUND)?;
    draft.attachments.push(attachment);
    Ok(StatusCode::CREATED.into_response())
}

/// For a test in another process: the messages of a folder, as MIME in base64.
async fn look_into(State(server): State<GraphServer>, Path((user, folder)): Path<(String, String)>) -> Reply {
    with(&server, &user, |mailbox| {
        let messages = mailbox.of_folder(&folder);
        let messages: Vec<String> = messages.into_iter().map(|message| STANDARD.encode(&message.mime)).collect();
        ok(json!(messages))
    })
}

/// The same: puts a message into a folder, or only makes the mailbox if there is none.
async fn put_into(
    State(server): State<GraphServer>,
    Path((user, folder)): Path<(String, String)>,
    body: Bytes,
) -> Reply {
    let received = clock().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut tenant = server.tenant();
    let mailbox = tenant.mailbox(&user);
    if !body.is_empty() {
        mailbox.deliver(&folder, &body, Some(received));
    }
    Ok(StatusCode::CREATED.into_response())
}

/// Runs each part as a request of its own; parts come back in another order than they were asked in.
async fn batch(server: GraphServer, headers: HeaderMap, asked: Value, router: Router) -> Reply {
    let parts = asked["requests"].as_array().cloned().unwrap_or_default();
    if parts.len() > PARTS_MAX {
        return Err(BAD_REQUEST);
    }
    let mut responses = Vec::new();
    for part in parts.into_iter().rev() {
        let text = |name: &str| part[name].as_str().unwrap_or_default().to_owned();
        let fault = due(&mut server.tenant(), &text("url"));
        let mut request = axum::http::Request::builder()
            .method(text("method").parse::<Method>().unwrap_or_default())
            .uri(text("url"));
        if let Some(token) = headers.get(header::AUTHORIZATION) {
            request = request.header(header::AUTHORIZATION, token);
        }
        for (name, value) in part["headers"].as_object().into_iter().flatten() {
            request = request.header(name, value.as_str().unwrap_or_default());
        }
        let request = request.body(Body::empty()).map_err(|_| BAD_REQUEST)?;
        let (status, body, wait) = match fault {
            Some(fault) => (fault.status, fault.body.into_bytes(), fault.retry_after),
            None => {
                let response = match router.clone().oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                let wait = response.headers().get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok());
                let (status, wait) = (response.status().as_u16(), wait.map(str::to_owned));
                let body = to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
                (status, body.to_vec(), wait)
            }
        };
        let mut outcome = json!({ "id": part["id"], "status": status, "headers": {} });
        if let Some(wait) = wait {
            outcome["headers"]["Retry-After"] = json!(wait);
        }
        if let Ok(body) = serde_json::from_slice::<Value>(&body) {
            outcome["body"] = body;
        }
        responses.push(outcome);
    }
    ok(json!({ "responses": responses }))
}
