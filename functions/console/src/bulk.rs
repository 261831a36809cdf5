//! What came of an action on many records, as it is answered.

use mailrail_domain::words::invalid::excerpt;
use mailrail_engine::administration::bulk;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;

/// What came of an action on many records.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// Ids for which it was done.
    done: Vec<String>,
    /// Ids for which it was not, each with the reason.
    refused: Vec<Refused>,
}

/// A record for which an action was not done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Refused {
    /// Its id, as it was given.
    id: String,
    /// Why not.
    detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl From<bulk::Done> for Done {
    fn from(bulk::Done { done, refused }: bulk::Done) -> Self {
        let refused = refused.into_iter().map(|(id, refusal)| {
            let Problem { detail, remedy, .. } = refusal.into();
            Refused { id: excerpt(&id), detail, remedy }
        });
        Self { done, refused: refused.collect() }
    }
}
