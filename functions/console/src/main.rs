//! The administrator's and the records API over HTTP, described by `/openapi.json`.

mod approvals;
mod auth;
mod body;
mod bulk;
mod emails;
mod import;
mod mailboxes;
mod monitoring;
mod openapi;
mod page;
mod problem;
mod profiles;
mod quarantine;
mod tests;
mod tokens;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, post},
};
use mailrail_boot::{Outside, engine};
use mailrail_engine::Engine;

/// Largest request (Lambda: 6 MB for an invocation's payload).
const REQUEST_BYTES_MAX: usize = 6 * 1024 * 1024;

/// What every handler has.
#[derive(Clone)]
struct App {
    engine: Arc<Engine<Outside>>,
    token_sha256: Arc<str>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let (engine, configuration) = engine()?;
    let app = App { engine: Arc::new(engine), token_sha256: configuration.console_token_sha256.into() };
    lambda_http::run(router(app)).await
}

fn router(app: App) -> Router {
    let guarded = Router::new()
        .route("/v1/profiles", get(profiles::list).post(profiles::create))
        .route("/v1/profiles/import", post(profiles::import))
        .route("/v1/profiles/{id}", get(profiles::read).patch(profiles::change).delete(profiles::delete))
        .route("/v1/mailboxes", get(mailboxes::list).post(mailboxes::create))
        .route("/v1/mailboxes/import", post(mailboxes::import))
        .route("/v1/mailboxes/approval", post(approvals::decide))
        .route("/v1/mailboxes/test", post(tests::test))
        .route("/v1/mailboxes/{id}/test", get(tests::read))
        .route("/v1/mailboxes/{id}", get(mailboxes::read).patch(mailboxes::change).delete(mailboxes::delete))
        .route("/v1/mailboxes/{id}/deliveries/{delivery}/enable", post(mailboxes::enable))
        .route("/v1/mailboxes/{id}/deliveries/{delivery}/run", post(mailboxes::run))
        .route("/v1/mailboxes/{id}/emails", get(emails::list))
        .route("/v1/mailboxes/{id}/quarantine", get(quarantine::of_mailbox))
        .route("/v1/mailboxes/{id}/why", get(quarantine::why))
        .route("/v1/quarantine", get(quarantine::list))
        .route("/v1/quarantine/replay", post(quarantine::replay))
        .route("/v1/emails", post(emails::create))
        .route("/v1/emails/{id}", get(emails::read))
        .route("/v1/emails/{id}/raw", get(emails::raw))
        .route("/v1/emails/{id}/send", post(emails::send))
        .route("/v1/alerts", get(monitoring::alerts))
        .route("/v1/notices", get(monitoring::notices))
        .route("/v1/api-tokens", get(tokens::list).post(tokens::create))
        .route("/v1/api-tokens/{id}", delete(tokens::delete))
        .route("/v1/audit", get(tokens::audit))
        .route("/v1/organization", get(monitoring::organization).patch(monitoring::change_organization))
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::require_token));
    Router::new()
        .route("/health", get(monitoring::health))
        .route("/openapi.json", get(openapi::document))
        .merge(guarded)
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(app)
}
