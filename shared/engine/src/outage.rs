//! Our own failure: the table, the queue, the bucket, a bug. It counts against no mailbox.

/// Something of ours did not work. The work is left where it was and is taken up again.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Outage {
    what: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Outage {
    /// An outage that has no deeper cause to show.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    /// An outage with the error beneath it.
    pub fn because(what: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { what: what.into(), source: Some(source.into()) }
    }

    /// The whole chain of causes on one line, for a log.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = self.what.clone();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            line.push_str(": ");
            line.push_str(&cause.to_string());
            next = cause.source();
        }
        line
    }
}
