//! Senders and recipients as fields name them, with the mistakes of programs put right.

use mail_parser::{Addr, Address};

/// Name and address, as a field means them. `raw` is its text, which is looked into if the reader found no address.
pub(super) fn people(parsed: Option<&Address<'_>>, raw: &str) -> Vec<(Option<String>, String)> {
    let listed = parsed.into_iter().flat_map(Address::iter);
    let found: Vec<(Option<String>, String)> = listed.filter_map(person).collect();
    if found.iter().any(|(_, address)| address.contains('@')) {
        return found;
    }
    // The reader lost the address, because of a quotation that does not end.
    let Some((before, after)) = raw.split_once('<') else {
        return found;
    };
    let Some((address, _)) = after.split_once('>').filter(|(address, _)| address.contains('@')) else {
        return found;
    };
    let name = before.trim().trim_matches('"').trim();
    vec![(Some(name.to_owned()).filter(|name| !name.is_empty()), bare(address))]
}

fn person(listed: &Addr<'_>) -> Option<(Option<String>, String)> {
    let name = listed.name().map(cleaned).map(|name| name.trim_matches(['<', '>', ' ']).to_owned());
    let name = name.filter(|name| !name.is_empty());
    let address = bare(listed.address().unwrap_or_default());
    // A quoted local part that stands alone was taken for a name (RFC 5322 section 3.4.1).
    match name {
        Some(name) if address.starts_with('@') && !address.contains(':') => {
            Some((None, format!("\"{name}\"{address}")))
        }
        None if address.is_empty() => None,
        name => Some((name, address)),
    }
}

/// An address without brackets, a scheme, a route (RFC 5322 section 4.4) and blanks around its `@`.
fn bare(address: &str) -> String {
    let address = cleaned(address);
    let address = address.trim().trim_matches(['<', '>']).trim();
    let address = address.strip_prefix("mailto:").or_else(|| address.strip_prefix("MAILTO:")).unwrap_or(address);
    let address = match address.split_once(':') {
        Some((route, behind)) if route.starts_with('@') => behind,
        _ => address,
    };
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{}", local.trim(), domain.trim()),
        None => address.to_owned(),
    }
}

/// Text on one line.
pub(super) fn cleaned(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;

    use super::*;

    #[test]
    fn people_are_named_as_they_were_meant() {
        for (field, name, address) in [
            ("Joe <joe@x.test>", Some("Joe"), "joe@x.test"),
            ("joe@x.test", None, "joe@x.test"),
            ("Joe <<joe@x.test>>", Some("Joe"), "joe@x.test"),
            ("Joe <mailto:joe@x.test>", Some("Joe"), "joe@x.test"),
            ("\"joe bloggs\"@x.test", None, "\"joe bloggs\"@x.test"),
            ("Joe <@relay.test:joe@x.test>", Some("Joe"), "joe@x.test"),
            ("Joe <joe @ x.test>", Some("Joe"), "joe@x.test"),
            ("\"Joe <joe@x.test>", Some("Joe"), "joe@x.test"),
        ] {
            let raw = format!("From: {field}\r\n\r\n");
            let message = MessageParser::default().parse(raw.as_bytes()).unwrap();
            let found = people(message.from(), field);
            assert_eq!(found, [(name.map(str::to_owned), address.to_owned())], "{field}");
        }
        assert_eq!(people(None, "nobody"), []);
    }
}
