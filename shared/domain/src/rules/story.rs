//! What there is to tell about a delivery or a profile, before [`crate::texts`] puts it into sentences.

use crate::{
    Timestamp,
    rules::{
        classification::{Classification, Permanence},
        hold::ProfileHealth,
    },
    words::{
        alert::{AlertKind, Level},
        cause::DeliveryError,
        notice::NoticeKind,
    },
};

/// A failed run, with what follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What was seen.
    pub error: DeliveryError,
    /// What the failure was taken for.
    pub classification: Classification,
    /// What happens next.
    pub consequence: Consequence,
    /// Transient failures in a row, this one included.
    pub count: u32,
    /// When the row of failures began.
    pub since: Timestamp,
}

impl Failure {
    /// How serious it is: a warning while it is tried again, an error once somebody has to act.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self.consequence {
            Consequence::Again { .. } => Level::Warning,
            Consequence::Disabled | Consequence::NotEnabled => Level::Error,
        }
    }

    /// Whether it may pass by itself.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.classification.permanence == Permanence::Transient
    }
}

/// What happens after a failed run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The delivery is tried again.
    Again {
        /// After so many seconds.
        in_seconds: u32,
    },
    /// The delivery has been disabled.
    Disabled,
    /// The delivery was not enabled before, and Test & Enable did not enable it.
    NotEnabled,
}

/// What an alert tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Story {
    /// A run failed.
    Failure(Box<Failure>),
    /// The mailboxes of a profile are held because its servers fail.
    Held(Box<ProfileHealth>),
    /// More than half of the mailboxes of a profile fail.
    Majority {
        /// How many fail.
        failing: usize,
    },
    /// A delivery runs and does not fail, and yet it has not worked for long.
    Stall {
        /// When it last worked.
        since: Timestamp,
    },
    /// Email waits because its mailbox may not send.
    PendingSend {
        /// The gate's reason, as a clause.
        why: &'static str,
    },
}

impl Story {
    /// The kind of its alert.
    #[must_use]
    pub fn kind(&self) -> AlertKind {
        match self {
            Self::Failure(failure) => failure.classification.alert,
            Self::Held(_) => AlertKind::ProfileHeld,
            Self::Majority { .. } => AlertKind::MajorityFailing,
            Self::Stall { .. } => AlertKind::Stalled,
            Self::PendingSend { .. } => AlertKind::EmailPendingSend,
        }
    }

    /// How serious it is.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Failure(failure) => failure.level(),
            Self::Held(_) | Self::Majority { .. } => Level::Error,
            Self::Stall { .. } | Self::PendingSend { .. } => Level::Warning,
        }
    }
}

/// What a notice tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Tidings {
    /// A delivery has been disabled.
    Disabled {
        /// Why.
        failure: Box<Failure>,
        /// How often the delivery has been disabled, which names the notice.
        times: u32,
    },
    /// A delivery will be disabled if its next tries fail too.
    Warning {
        /// The last failure.
        failure: Box<Failure>,
        /// Tries that are left.
        tries_left: u32,
    },
    /// A delivery works again after the owner was told that it did not.
    Recovered {
        /// When it began to fail.
        since: Timestamp,
        /// Whether it goes on by itself.
        resumed: bool,
    },
    /// A profile is held.
    Held(Box<ProfileHealth>),
    /// A profile is held no more.
    Released {
        /// When its servers began to fail.
        since: Timestamp,
    },
    /// More than half of the mailboxes of a profile fail.
    Majority {
        /// How many fail.
        failing: usize,
    },
}

impl Tidings {
    /// The kind of its notice.
    #[must_use]
    pub const fn kind(&self) -> NoticeKind {
        match self {
            Self::Disabled { .. } => NoticeKind::Disabled,
            Self::Warning { .. } => NoticeKind::Warning,
            Self::Recovered { .. } => NoticeKind::Recovered,
            Self::Held(_) => NoticeKind::Held,
            Self::Released { .. } => NoticeKind::Released,
            Self::Majority { .. } => NoticeKind::MajorityFailing,
        }
    }
}
