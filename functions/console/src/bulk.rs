//! Actions on many records at once: what can be done is done, and each of the others is reported.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use mailrail_domain::words::invalid::{Invalid, excerpt};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;

/// Records of one action; a call is answered within the 30 seconds that the gateway allows.
const IDS_MAX: usize = 1_000;
/// Records that are worked on at once.
const AT_ONCE: usize = 16;

/// What came of an action on many records.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Done {
    /// Ids for which it was done.
    pub done: Vec<String>,
    /// Ids for which it was not, each with the reason.
    pub refused: Vec<Refused>,
}

/// A record for which an action was not done.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Refused {
    /// Its id, as it was given.
    pub id: String,
    /// Why not.
    pub detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Does `act` for each id, once however often it is given.
pub(crate) async fn each<F>(ids: &[String], act: impl Fn(String) -> F) -> Result<Done, Problem>
where
    F: Future<Output = Result<(), Problem>>,
{
    if ids.is_empty() || ids.len() > IDS_MAX {
        let problem = format!("it has {} ids", ids.len());
        return Err(Invalid::new("mailbox_ids", problem, format!("Give 1 to {IDS_MAX}")).into());
    }
    let mut seen = BTreeSet::new();
    let (first, again): (Vec<String>, Vec<String>) = ids.iter().cloned().partition(|id| seen.insert(id.clone()));
    let act = &act;
    let results = stream::iter(first).map(|id| async move { (id.clone(), act(id).await) });
    let results: Vec<_> = results.buffered(AT_ONCE).collect().await;
    let mut done = Done::default();
    for (id, result) in results {
        match result {
            Ok(()) => done.done.push(id),
            Err(problem) => {
                let Problem { detail, remedy, .. } = problem;
                done.refused.push(Refused { id: excerpt(&id), detail, remedy });
            }
        }
    }
    for id in again {
        let detail = "The id is given more than once.".to_owned();
        done.refused.push(Refused { id: excerpt(&id), detail, remedy: None });
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use mailrail_engine::administration::Refusal;

    use super::*;

    #[tokio::test]
    async fn what_can_be_done_is_done_and_the_rest_is_reported_one_by_one() {
        let ids = ["a", "b", "a", "c"].map(str::to_owned);
        let act =
            |id: String| async move { if id == "b" { Err(Refusal::not_found("mailbox", &id).into()) } else { Ok(()) } };
        let done = each(&ids, act).await.unwrap();
        assert_eq!(done.done, ["a", "c"]);
        let refused: Vec<_> = done.refused.iter().map(|r| (r.id.as_str(), r.detail.as_str())).collect();
        assert_eq!(refused, [("b", "There is no mailbox b."), ("a", "The id is given more than once.")]);
        assert_eq!(each(&[], act).await.unwrap_err().field.as_deref(), Some("mailbox_ids"));
    }
}
