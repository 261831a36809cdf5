//! What every handler of the console has.

use std::sync::Arc;

use mailrail_engine::Engine;

/// What every handler has.
pub(crate) struct App<P> {
    /// The use cases.
    pub engine: Arc<Engine<P>>,
    /// SHA-256 of the deployment's own token, in hexadecimal digits.
    pub token_sha256: Arc<str>,
}

// Derived, it would ask for ports that can be cloned.
impl<P> Clone for App<P> {
    fn clone(&self) -> Self {
        Self { engine: Arc::clone(&self.engine), token_sha256: Arc::clone(&self.token_sha256) }
    }
}
