//! Cleaned HTML for a preview: no scripts, no styles that reach out, no remote content.

use std::{borrow::Cow, sync::LazyLock};

use ammonia::Builder;

use crate::limits::HTML_INPUT_BYTES_MAX;

/// Images may only come from the message itself; a remote one would tell its sender that it was looked at.
static CLEANER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::default();
    builder.add_url_schemes(["cid"]);
    builder.attribute_filter(|_, attribute, value| match attribute {
        "src" | "background" | "poster" => value.starts_with("cid:").then_some(Cow::Borrowed(value)),
        _ => Some(Cow::Borrowed(value)),
    });
    builder
});

/// Cleans the beginning of `html` so that the result has at most `bytes_max` bytes. The second value tells whether
/// anything was left out for its length.
#[must_use]
pub fn clean_html(html: &str, bytes_max: usize) -> (String, bool) {
    let mut input_bytes = HTML_INPUT_BYTES_MAX;
    loop {
        let input = beginning(html, input_bytes);
        let cleaned = CLEANER.clean(input).to_string();
        // Markup is only ever cut before it is cleaned: cutting afterwards could leave half a tag.
        if cleaned.len() <= bytes_max || input.is_empty() {
            return (cleaned, input.len() < html.len());
        }
        input_bytes = input.len() / 2;
    }
}

/// The longest beginning of `text` of at most `bytes_max` bytes that ends between two characters.
#[must_use]
pub fn beginning(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_html_is_harmless_afterwards() {
        let hostile = r#"<p onclick="x()">Hi<script>alert(1)</script><img src="http://spy.example/p.gif">
            <img src="cid:logo"><a href="javascript:x()">l</a><style>*{background:url(http://spy)}</style></p>"#;
        let (cleaned, cut) = clean_html(hostile, 10_000);
        for bad in ["script", "onclick", "spy", "javascript", "style"] {
            assert!(!cleaned.contains(bad), "{bad} in {cleaned}");
        }
        assert!(cleaned.contains("cid:logo") && cleaned.contains("Hi"));
        assert!(!cut);
    }

    #[test]
    fn the_preview_is_bounded_and_never_ends_in_half_a_tag() {
        let long = "<b>ü</b>".repeat(50_000);
        let (cleaned, cut) = clean_html(&long, 1_000);
        assert!(cut && cleaned.len() <= 1_000 && cleaned.matches("<b>").count() == cleaned.matches("</b>").count());
    }

    #[test]
    fn deeply_nested_html_is_no_danger() {
        let (cleaned, _) = clean_html(&"<div>".repeat(100_000), 1_000);
        assert!(cleaned.len() <= 1_000);
    }
}
