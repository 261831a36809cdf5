//! Character sets: their names as programs write them, and a guess where there is none or a wrong one.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::Encoding;

/// Names that are in no list of names, as programs write them, and what they mean.
const ALIASES: [(&str, &str); 23] = [
    ("windows1250", "windows-1250"),
    ("windows1251", "windows-1251"),
    ("windows1252", "windows-1252"),
    ("win-1251", "windows-1251"),
    ("win1251", "windows-1251"),
    ("win-1252", "windows-1252"),
    ("cp-1251", "windows-1251"),
    ("cp-1252", "windows-1252"),
    ("cp932", "shift_jis"),
    ("cp949", "euc-kr"),
    ("ms949", "euc-kr"),
    ("uhc", "euc-kr"),
    ("cp936", "gbk"),
    ("cp950", "big5"),
    ("euc-cn", "gbk"),
    ("koi8r", "koi8-r"),
    ("latin-1", "iso-8859-1"),
    ("8859_1", "iso-8859-1"),
    ("8859-1", "iso-8859-1"),
    ("ansi", "windows-1252"),
    ("macroman", "macintosh"),
    ("tis620", "tis-620"),
    ("utf8", "utf-8"),
];

/// Character sets that the reader of messages knows and the web does not.
const OF_MAIL: [&str; 3] = ["utf-7", "utf-32", "iso-2022-cn"];

/// Text in an unknown character set, as it was most probably meant.
pub(super) fn guessed(bytes: &[u8]) -> String {
    guess(bytes).decode_without_bom_handling(bytes).0.into_owned()
}

/// The character set of a text, where the one that is given is missing, has another name here, or cannot be right. `None`
/// leaves the given one.
pub(super) fn of_text(given: Option<&str>, bytes: &[u8], is_html: bool) -> Option<String> {
    let given = given.map(|given| given.trim().to_ascii_lowercase()).filter(|given| !given.is_empty());
    let named = given.as_deref().and_then(known);
    let is_ascii = bytes.is_ascii();
    let is_unsaid =
        given.as_deref().is_none_or(|given| matches!(given, "us-ascii" | "ascii" | "unknown-8bit" | "default"));
    let is_utf8 = || match std::str::from_utf8(bytes) {
        Ok(_) => true,
        // The sample may end in the middle of a character.
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    if is_unsaid {
        let of_page = if is_html { of_page(bytes) } else { None };
        return match of_page {
            Some(name) => Some(name),
            None if is_ascii => None,
            None if is_utf8() => Some("utf-8".to_owned()),
            None => Some(guess(bytes).name().to_ascii_lowercase()),
        };
    }
    match (given.as_deref(), named) {
        // What is said to be UTF-8 and is none was written by a program of one byte for each character.
        (_, Some("utf-8")) if !is_ascii && !is_utf8() => Some(guess(bytes).name().to_ascii_lowercase()),
        (Some(given), Some(name)) if given != name => Some(name.to_owned()),
        (Some(given), None) if !is_ascii && !OF_MAIL.contains(&given) => {
            Some(if is_utf8() { "utf-8".to_owned() } else { guess(bytes).name().to_ascii_lowercase() })
        }
        _ => None,
    }
}

/// The usual name of a character set, if the name is known.
fn known(name: &str) -> Option<&str> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, meant)| *meant);
    alias.or_else(|| Encoding::for_label(name.as_bytes()).map(|_| name))
}

/// The character set that a page names for itself, near its beginning.
fn of_page(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(bytes.get(..1_024).unwrap_or(bytes)).to_ascii_lowercase();
    let (_, after) = head.split_once("charset=")?;
    let name: String = after
        .trim_start_matches(['"', '\'', ' '])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    known(&name).map(str::to_owned)
}

fn guess(bytes: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    detector.guess(None, Utf8Detection::Allow)
}
