//! The description of the API, generated from its handlers and types.

use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        RefOr, Schema,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use crate::api::{
    alerts, approval, audit, emails, health, mailboxes, notices, organization, profiles, quarantine, test_and_enable,
    tokens,
};

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
        approval::decide,
        test_and_enable::ask,
        test_and_enable::read,
        emails::list,
        quarantine::of_mailbox,
        quarantine::why,
        quarantine::list,
        quarantine::replay,
        emails::create,
        emails::read,
        emails::raw,
        emails::send,
        alerts::list,
        notices::list,
        tokens::list,
        tokens::create,
        tokens::delete,
        audit::list,
        organization::read,
        organization::change,
        health::read,
    ),
    modifiers(&Token, &Composed),
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

/// Objects that others are composed of, such as the settings within an answer. Their schemas cannot forbid the fields of
/// the whole, though a request with unknown fields is refused all the same.
struct Composed;

impl Modify for Composed {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        let wholes = components.schemas.values().filter_map(|schema| match schema {
            RefOr::T(Schema::AllOf(whole)) => Some(&whole.items),
            _ => None,
        });
        let parts = wholes.flatten().filter_map(|part| match part {
            RefOr::Ref(reference) => reference.ref_location.rsplit('/').next().map(str::to_owned),
            RefOr::T(_) => None,
        });
        let parts: Vec<String> = parts.collect();
        for part in parts {
            if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(&part) {
                object.additional_properties = None;
            }
        }
    }
}

/// The description of the whole API.
pub(crate) fn description() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

/// Hands out the description.
pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(description())
}
