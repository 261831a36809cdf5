//! Whether the console answers.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// That the console answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `up`.
    status: &'static str,
    /// Version of the console.
    version: &'static str,
}

/// Says that the console answers.
#[utoipa::path(get, path = "/health", responses((status = 200, body = Health)), security(()))]
pub(crate) async fn read() -> Json<Health> {
    Json(Health { status: "up", version: env!("CARGO_PKG_VERSION") })
}
