//! The description of the API, generated from its handlers and types.

use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use crate::{approvals, emails, mailboxes, monitoring, profiles, quarantine, tests as mailbox_tests, tokens};

/// The whole API.
#[derive(OpenApi)]
#[openapi(
    info(title = "Mailrail", description = "Server-side synchronization of mailboxes: administration and records."),
    paths(
        profiles::list,
        profiles::create,
        profiles::import,
        profiles::read,
        profiles::change,
        profiles::delete,
        mailboxes::list,
        mailboxes::create,
        mailboxes::import,
        mailboxes::read,
        mailboxes::change,
        mailboxes::delete,
        mailboxes::enable,
        mailboxes::run,
        approvals::decide,
        mailbox_tests::test,
        mailbox_tests::read,
        emails::list,
        quarantine::of_mailbox,
        quarantine::why,
        quarantine::list,
        quarantine::replay,
        emails::create,
        emails::read,
        emails::raw,
        emails::send,
        monitoring::alerts,
        monitoring::notices,
        tokens::list,
        tokens::create,
        tokens::delete,
        tokens::audit,
        monitoring::organization,
        monitoring::change_organization,
        monitoring::health,
    ),
    modifiers(&Token),
    security(("token" = []))
)]
struct Api;

/// The bearer token as a security scheme.
struct Token;

impl Modify for Token {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// Hands out the description.
pub async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Api::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described() {
        let router = include_str!("main.rs");
        let described = Api::openapi().paths.paths;
        for route in router.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(described.contains_key(route) || route == "/openapi.json", "{route} is not described");
        }
        assert!(described.len() > 15);
    }
}
