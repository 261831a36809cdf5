//! Identifiers of tenants and applications of Microsoft Entra ID.

use crate::words::invalid::{Invalid, excerpt};

/// Checks the identifier of a tenant or an application: 32 hexadecimal digits in five groups.
pub fn validate_guid(field: &str, id: &str) -> Result<(), Invalid> {
    let groups: Vec<&str> = id.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    if lengths == [8, 4, 4, 4, 12] && groups.concat().chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(());
    }
    let problem = format!("\"{}\" is not an identifier of Microsoft Entra ID", excerpt(id));
    Err(Invalid::new(field, problem, "Give it as 8-4-4-4-12 hexadecimal digits"))
}
