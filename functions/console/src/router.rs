//! Which handler answers at which path, over whatever ports.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, post},
};
use mailrail_engine::ports::Ports;

use crate::{
    api::{
        alerts, approval, audit, emails, health, mailboxes, notices, organization, profiles, quarantine,
        test_and_enable, tokens,
    },
    app::App,
    auth,
    body::REQUEST_BYTES_MAX,
    openapi, problem,
};

/// The whole API.
pub(crate) fn router<P: Ports + 'static>(app: App<P>) -> Router {
    let guarded = Router::new()
        .route("/v1/profiles", get(profiles::list::<P>).post(profiles::create::<P>))
        .route("/v1/profiles/import", post(profiles::import::<P>))
        .route("/v1/profiles/{id}", get(profiles::read::<P>).patch(profiles::change::<P>).delete(profiles::delete::<P>))
        .route("/v1/mailboxes", get(mailboxes::list::<P>).post(mailboxes::create::<P>))
        .route("/v1/mailboxes/import", post(mailboxes::import::<P>))
        .route("/v1/mailboxes/approval", post(approval::decide::<P>))
        .route("/v1/mailboxes/test", post(test_and_enable::ask::<P>))
        .route("/v1/mailboxes/{id}/test", get(test_and_enable::read::<P>))
        .route(
            "/v1/mailboxes/{id}",
            get(mailboxes::read::<P>).patch(mailboxes::change::<P>).delete(mailboxes::delete::<P>),
        )
        .route("/v1/mailboxes/{id}/deliveries/{delivery}/enable", post(mailboxes::enable::<P>))
        .route("/v1/mailboxes/{id}/deliveries/{delivery}/run", post(mailboxes::run::<P>))
        .route("/v1/mailboxes/{id}/emails", get(emails::list::<P>))
        .route("/v1/mailboxes/{id}/quarantine", get(quarantine::of_mailbox::<P>))
        .route("/v1/mailboxes/{id}/why", get(quarantine::why::<P>))
        .route("/v1/quarantine", get(quarantine::list::<P>))
        .route("/v1/quarantine/replay", post(quarantine::replay::<P>))
        .route("/v1/emails", post(emails::create::<P>))
        .route("/v1/emails/{id}", get(emails::read::<P>))
        .route("/v1/emails/{id}/raw", get(emails::raw::<P>))
        .route("/v1/emails/{id}/send", post(emails::send::<P>))
        .route("/v1/alerts", get(alerts::list::<P>))
        .route("/v1/notices", get(notices::list::<P>))
        .route("/v1/api-tokens", get(tokens::list::<P>).post(tokens::create::<P>))
        .route("/v1/api-tokens/{id}", delete(tokens::delete::<P>))
        .route("/v1/audit", get(audit::list::<P>))
        .route("/v1/organization", get(organization::read::<P>).patch(organization::change::<P>))
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::require_token::<P>));
    Router::new()
        .route("/health", get(health::read))
        .route("/openapi.json", get(openapi::document))
        .merge(guarded)
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(app)
}
