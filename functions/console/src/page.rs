//! Lists in pages.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mailrail_domain::words::invalid::Invalid;
use mailrail_engine::ports::{Page, PageRequest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

/// Entries of a page that says nothing about it.
const LIMIT_DEFAULT: usize = 50;
/// Most entries of a page.
const LIMIT_MAX: usize = 100;
/// Longest cursor.
const CURSOR_BYTES_MAX: usize = 1_024;
/// What a cursor begins with before it is encoded.
const CURSOR: &str = "cursor:";

/// Which page is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// Most entries of the page, 1 to 100.
    pub limit: Option<usize>,
    /// Where it begins: `cursor` of the page before.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// The page, if it can be given.
    pub(crate) fn request(self) -> Result<PageRequest, Problem> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let problem = format!("{limit} is out of range");
            return Err(Invalid::new("limit", problem, format!("Give 1 to {LIMIT_MAX}")).into());
        }
        let given = self.cursor.filter(|cursor| !cursor.is_empty());
        let unknown = || Invalid::new("cursor", "it is not one of this API", "Give the cursor of the page before");
        let cursor = given.map(|cursor| opened(&cursor).ok_or_else(unknown)).transpose()?;
        Ok(PageRequest { limit, cursor })
    }
}

/// A cursor as it is handed out: opaque, and not to be made up.
fn closed(cursor: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{CURSOR}{cursor}"))
}

fn opened(cursor: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok().filter(|_| cursor.len() <= CURSOR_BYTES_MAX)?;
    String::from_utf8(bytes).ok()?.strip_prefix(CURSOR).map(str::to_owned)
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Listing<T> {
    /// Its entries.
    pub items: Vec<T>,
    /// Where the next page begins; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl<T> Listing<T> {
    /// The page with its entries as they are shown.
    pub(crate) fn of<S>(page: Page<S>, show: impl FnMut(S) -> T) -> Self {
        Self { items: page.items.into_iter().map(show).collect(), cursor: page.cursor.as_deref().map(closed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went_and_a_made_up_one_is_refused() {
        assert_eq!(opened(&closed("PROFILE#1.x")).as_deref(), Some("PROFILE#1.x"));
        for cursor in ["abc", "~", &closed("x").repeat(400), &URL_SAFE_NO_PAD.encode("x")] {
            let query = PageQuery { limit: None, cursor: Some(cursor.to_owned()) };
            assert_eq!(query.request().unwrap_err().field.as_deref(), Some("cursor"), "{cursor}");
        }
    }
}
