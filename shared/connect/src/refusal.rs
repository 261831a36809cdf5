//! Why a request to a server's API did not go through.

use mailrail_domain::words::{
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
};

/// Why a request did not go through.
#[derive(Debug)]
pub enum Failure {
    /// The server refused the request.
    Refused(Refusal),
    /// There was no answer, or the answer cannot be read.
    Broken(DeliveryError),
}

/// A refusal in the server's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The cause, by the table of the server's codes.
    pub cause: Cause,
    /// The stage at which something is missing, if that is not the stage of the request.
    pub stage: Option<Stage>,
    /// The HTTP status.
    pub status: u16,
    /// The server's code.
    pub code: Option<String>,
    /// The server's words.
    pub words: String,
    /// How long the server asks us to stay away, in seconds.
    pub retry_after_seconds: Option<u32>,
}

impl Failure {
    /// Whether the server refused the request with one of these codes. Case does not matter.
    #[must_use]
    pub fn is(&self, codes: &[&str]) -> bool {
        match self {
            Self::Refused(Refusal { code: Some(code), .. }) => {
                codes.iter().any(|known| known.eq_ignore_ascii_case(code))
            }
            Self::Refused(_) | Self::Broken(_) => false,
        }
    }

    /// Whether the server refused the request with this status.
    #[must_use]
    pub fn has_status(&self, status: u16) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == status)
    }

    /// What was seen at `stage`.
    #[must_use]
    pub fn evidence(&self, stage: Stage) -> Evidence {
        match self {
            Self::Refused(refusal) => Evidence::new(stage, &refusal.words)
                .with_code(refusal.status.to_string())
                .with_detail(refusal.code.as_deref()),
            Self::Broken(error) => error.evidence.clone(),
        }
    }

    /// This failure as a failure of the mailbox or the server, at the stage that it belongs to.
    #[must_use]
    pub fn into_error(self, stage: Stage) -> DeliveryError {
        let (cause, stage, wait) = match &self {
            Self::Broken(error) => return error.clone(),
            Self::Refused(refusal) => (refusal.cause, refusal.stage.unwrap_or(stage), refusal.retry_after_seconds),
        };
        DeliveryError { retry_after_seconds: wait, ..DeliveryError::new(cause, self.evidence(stage)) }
    }
}

/// The failure of a reply that such a server does not send.
#[must_use]
pub fn broken(stage: Stage, words: &str) -> Failure {
    Failure::Broken(DeliveryError::new(Cause::ProtocolViolation, Evidence::new(stage, words)))
}
