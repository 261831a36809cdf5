//! Actions on many records at once: what can be done is done, and each of the others is reported.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use mailrail_domain::words::invalid::Invalid;

use super::Refusal;

/// Records of one action. A person waits for it, and a gateway for 30 seconds at most.
const IDS_MAX: usize = 1_000;
/// Records that are worked on at once.
const AT_ONCE: usize = 16;

/// What came of an action on many records.
#[derive(Debug, Default)]
pub struct Done {
    /// Ids for which it was done.
    pub done: Vec<String>,
    /// Ids for which it was not done, as they were given, each with the reason.
    pub refused: Vec<(String, Refusal)>,
}

/// Does `act` for each id. An id that is given again is refused.
pub(super) async fn each<F>(ids: &[String], act: impl Fn(String) -> F) -> Result<Done, Refusal>
where
    F: Future<Output = Result<(), Refusal>>,
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
            Err(refusal) => done.refused.push((id, refusal)),
        }
    }
    let twice = || Refusal::conflict("The id is given more than once.", "Give each id once.");
    done.refused.extend(again.into_iter().map(|id| (id, twice())));
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_can_be_done_is_done_and_the_rest_is_reported_one_by_one() {
        let ids = ["a", "b", "a", "c"].map(str::to_owned);
        let act = |id: String| async move { if id == "b" { Err(Refusal::not_found("mailbox", &id)) } else { Ok(()) } };
        let done = each(&ids, act).await.unwrap();
        assert_eq!(done.done, ["a", "c"]);
        let refused: Vec<_> = done.refused.iter().map(|(id, refusal)| (id.as_str(), refusal.to_string())).collect();
        let twice = "The id is given more than once. Give each id once.".to_owned();
        assert_eq!(refused, [("b", "There is no mailbox b.".to_owned()), ("a", twice)]);
        let many = vec!["a".to_owned(); IDS_MAX + 1];
        for ids in [&[][..], &many] {
            let Err(Refusal::Invalid(invalid)) = each(ids, act).await else { panic!("{} ids", ids.len()) };
            assert_eq!(invalid.field, "mailbox_ids");
        }
    }
}
