//! Whether a host belongs to a domain.

/// Whether a host is the domain itself or below it.
pub(crate) fn is_within(host: &str, domain: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_of_a_domain_or_below_it() {
        for host in ["example.org", "mail.Example.org", "a.b.example.org"] {
            assert!(is_within(host, "example.org"), "{host}");
        }
        for host in ["badexample.org", "example.org.evil.test", "org", ""] {
            assert!(!is_within(host, "example.org"), "{host}");
        }
    }
}
