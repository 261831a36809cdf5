//! Lists in pages.

use mailrail_domain::invalid::Invalid;
use mailrail_engine::ports::{Page, PageRequest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

/// Entries of a page that says nothing about it.
const LIMIT_DEFAULT: usize = 50;
/// Most entries of a page.
const LIMIT_MAX: usize = 100;
/// Longest cursor.
const CURSOR_BYTES_MAX: usize = 512;

/// Which page is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Most entries of the page, 1 to 100.
    pub limit: Option<usize>,
    /// Where it begins: `cursor` of the page before.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// The page, if it can be given.
    pub fn request(self) -> Result<PageRequest, Problem> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let problem = format!("{limit} is out of range");
            return Err(Invalid::new("limit", problem, format!("Give 1 to {LIMIT_MAX}")).into());
        }
        if self.cursor.as_ref().is_some_and(|cursor| cursor.len() > CURSOR_BYTES_MAX) {
            return Err(Invalid::new("cursor", "it is too long", "Give the cursor of the page before").into());
        }
        Ok(PageRequest { limit, cursor: self.cursor.filter(|cursor| !cursor.is_empty()) })
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listing<T> {
    /// Its entries.
    pub items: Vec<T>,
    /// Where the next page begins; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl<T> Listing<T> {
    /// The page with its entries as they are shown.
    pub fn of<S>(page: Page<S>, show: impl FnMut(S) -> T) -> Self {
        Self { items: page.items.into_iter().map(show).collect(), cursor: page.cursor }
    }
}
