//! The dates of messages: RFC 5322's, and those that programs write instead.

use chrono::{DateTime, NaiveDateTime};
use mailrail_domain::Timestamp;

/// Forms with an offset from UTC, without the day of the week.
const WITH_OFFSET: [&str; 8] = [
    "%d %b %Y %H:%M:%S %z",
    "%d %b %Y %H:%M %z",
    "%d-%b-%Y %H:%M:%S %z",
    "%b %d %Y %H:%M:%S %z",
    "%Y %b %d %H:%M:%S %z",
    "%Y-%m-%d %H:%M:%S %z",
    "%d %b %Y %I:%M:%S %p %z",
    "%d %B %Y %H:%M:%S %z",
];

/// Forms without one, which are taken for UTC (RFC 5322 section 4.3).
const WITHOUT_OFFSET: [&str; 8] = [
    "%d %b %Y %H:%M:%S",
    "%d %b %Y %H:%M",
    "%d-%b-%Y %H:%M:%S",
    "%b %d %H:%M:%S %Y",
    "%b %d %Y %H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%d %b %Y %I:%M:%S %p",
];

/// Zones that programs write out.
const ZONES: [(&str, &str); 22] = [
    ("pacific standard time", "-0800"),
    ("pacific daylight time", "-0700"),
    ("mountain standard time", "-0700"),
    ("mountain daylight time", "-0600"),
    ("central standard time", "-0600"),
    ("central daylight time", "-0500"),
    ("eastern standard time", "-0500"),
    ("eastern daylight time", "-0400"),
    ("central european time", "+0100"),
    ("central european summer time", "+0200"),
    ("coordinated universal time", "+0000"),
    ("pst", "-0800"),
    ("pdt", "-0700"),
    ("mst", "-0700"),
    ("mdt", "-0600"),
    ("cst", "-0600"),
    ("cdt", "-0500"),
    ("est", "-0500"),
    ("edt", "-0400"),
    ("gmt", "+0000"),
    ("utc", "+0000"),
    ("z", "+0000"),
];

/// Months of other languages, and longer ones.
const MONTHS: [(&str, &str); 8] = [
    ("sept", "sep"),
    ("okt", "oct"),
    ("mai", "may"),
    ("dez", "dec"),
    ("mär", "mar"),
    ("mrz", "mar"),
    ("juin", "jun"),
    ("févr", "feb"),
];

/// The moment that a Date field names; `None` if it names none.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(date) = DateTime::parse_from_rfc3339(text.trim()) {
        return Some(date.to_utc());
    }
    let text = plain(text);
    let date =
        |text: &str| WITH_OFFSET.iter().find_map(|form| DateTime::parse_from_str(text, form).ok()).map(|d| d.to_utc());
    let naive = |text: &str| {
        WITHOUT_OFFSET.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).map(|d| d.and_utc())
    };
    if let Some(moment) = date(&text).or_else(|| naive(&text)) {
        return Some(moment);
    }
    // `GMT+0100`, the name of a zone, and at last any word, which says nothing (RFC 5322 section 4.3).
    for (name, offset) in ZONES {
        let Some(before) = text.strip_suffix(name).filter(|before| before.ends_with(' ')) else { continue };
        return date(&format!("{}{offset}", spaced(before)));
    }
    for prefix in ["gmt", "utc"] {
        if let Some((before, offset)) = text.rsplit_once(prefix) {
            return date(&format!("{}{}", spaced(before), offset.replace(':', "").trim()));
        }
    }
    let (before, zone) = text.rsplit_once(' ')?;
    if zone.chars().all(|c| c.is_ascii_alphabetic()) { naive(before) } else { None }
}

fn spaced(text: &str) -> String {
    format!("{} ", text.trim_end())
}

/// A date in small letters, without comments, the day of the week and other spellings of months.
fn plain(text: &str) -> String {
    let mut depth = 0_usize;
    let mut kept = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => kept.push(c),
            _ => {}
        }
    }
    let lower = kept.to_lowercase().replace(',', " ");
    let mut words: Vec<&str> = lower.split_whitespace().collect();
    // The day of the week comes first, in whatever language, and is no month.
    let has_digit = |word: Option<&&str>| word.is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let first = words.first().copied().unwrap_or_default();
    let is_word = first.chars().all(|c| c.is_alphabetic() || c == '.') && month(first).is_none();
    if is_word && (has_digit(words.get(1)) || has_digit(words.get(2))) {
        words.remove(0);
    }
    let words: Vec<String> =
        words.into_iter().map(|word| month(word.trim_end_matches('.')).unwrap_or(word).to_owned()).collect();
    words.join(" ")
}

/// The English name of a month.
fn month(word: &str) -> Option<&str> {
    const ENGLISH: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let known = MONTHS.iter().find(|(other, _)| *other == word).map(|(_, name)| *name);
    known.or_else(|| ENGLISH.into_iter().find(|name| *name == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_they_were_meant() {
        for (text, meant) in [
            ("Mon, 02 Jan 2023 10:00:00 +0000", "2023-01-02T10:00:00Z"),
            ("2 Jan 2023 10:00 -0500 (EST)", "2023-01-02T15:00:00Z"),
            ("Mon, 02 Jan 2023 10:00:00 GMT", "2023-01-02T10:00:00Z"),
            ("Mon, 02 Jan 2023 10:00:00 EST", "2023-01-02T15:00:00Z"),
            ("Mon, 02 Jan 2023 10:00:00 CEST", "2023-01-02T10:00:00Z"),
            ("Mon, 02 Jan 2023 10:00:00", "2023-01-02T10:00:00Z"),
            ("Mon Jan  2 10:00:00 2023", "2023-01-02T10:00:00Z"),
            ("Mon, 02-Jan-2023 10:00:00 +0000", "2023-01-02T10:00:00Z"),
            ("Mon, 02 Jan 2023 10:00:00 GMT+0100", "2023-01-02T09:00:00Z"),
            ("Mon, 02 Jan 2023 10:00:00 UTC+01:00", "2023-01-02T09:00:00Z"),
            ("2023-01-02T10:00:00Z", "2023-01-02T10:00:00Z"),
            ("2024-07-17 10:00:00", "2024-07-17T10:00:00Z"),
            ("2023 Jan 02 10:00:00 +0000", "2023-01-02T10:00:00Z"),
            ("Thu, 1 Oct 2015 02:40:57 PM +0000", "2015-10-01T14:40:57Z"),
            ("Do, 1 Okt 2015 14:40:57 +0200", "2015-10-01T12:40:57Z"),
            ("Sat, Apr 09 2005 06:39:52 -0700", "2005-04-09T13:39:52Z"),
            ("Wed, 24 Jul 2019 03:05:23 Pacific Daylight Time", "2019-07-24T10:05:23Z"),
            ("Thu, 1 Sept 2015 14:40:57 +0000", "2015-09-01T14:40:57Z"),
        ] {
            assert_eq!(moment(text), Some(meant.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in
            ["", "yesterday", "Mon, 30 Feb 2023 10:00:00 +0000", "Mon, 02 Jan 2023 10:00:00 +9900", "2023", "()"]
        {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
