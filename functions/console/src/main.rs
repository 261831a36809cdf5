//! The administrator's and the records API over HTTP, described by `/openapi.json`.

mod api;
mod app;
mod auth;
mod body;
mod bulk;
mod columns;
mod import;
mod openapi;
mod page;
mod problem;
mod router;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use mailrail_boot::engine;

use crate::{app::App, router::router};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let (engine, configuration) = engine()?;
    let app = App { engine: Arc::new(engine), token_sha256: configuration.console_token_sha256.into() };
    lambda_http::run(router(app)).await
}
