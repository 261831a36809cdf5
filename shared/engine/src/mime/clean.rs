//! Cleaned HTML for a preview: no scripts, no styles that reach out, no remote content.

use std::{borrow::Cow, sync::LazyLock};

use ammonia::Builder;
use lol_html::{RewriteStrSettings, comments, doc_comments, element, rewrite_str};

use crate::limits::{HTML_INPUT_BYTES_MAX, HTML_READ_BYTES_MAX};

/// Images may only come from the message itself; a remote one would tell its sender that it was looked at.
static CLEANER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::default();
    builder.add_url_schemes(["cid"]);
    builder.attribute_filter(|_, attribute, value| match attribute {
        "src" | "background" | "poster" => {
            let is_inside = value.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("cid:"));
            is_inside.then(|| match value.get(4..) {
                Some(id) if !value.starts_with("cid:") => Cow::Owned(format!("cid:{id}")),
                _ => Cow::Borrowed(value),
            })
        }
        // The source of a quotation, which is an address of any scheme.
        "cite" => None,
        _ => Some(Cow::Borrowed(value)),
    });
    builder
});

/// Cleans the beginning of `html` so that the result has at most `bytes_max` bytes. The second value tells whether
/// anything was left out for its length.
#[must_use]
pub fn clean_html(html: &str, bytes_max: usize) -> (String, bool) {
    let read = beginning(html, HTML_READ_BYTES_MAX);
    let said = said(read).map_or(Cow::Borrowed(read), Cow::Owned);
    let mut input_bytes = HTML_INPUT_BYTES_MAX;
    loop {
        let input = beginning(&said, input_bytes);
        let cleaned = CLEANER.clean(input).to_string();
        // Markup is only ever cut before it is cleaned: cutting afterwards could leave half a tag.
        if cleaned.len() <= bytes_max || input.is_empty() {
            return (cleaned, input.len() < said.len() || read.len() < html.len());
        }
        input_bytes = input.len() / 2;
    }
}

/// A page without what nobody reads: styles, programs, comments, its title, what is hidden, and images within addresses.
/// Newsletters begin with so much of it that their text would be behind the bound. `None` if the page cannot be followed.
pub(super) fn said(html: &str) -> Option<String> {
    let nothing = element!("style, script, title, template, noscript", |element| {
        element.remove();
        Ok(())
    });
    let hidden = element!("[style]", |element| {
        let style: String = element.get_attribute("style").unwrap_or_default().split_whitespace().collect();
        if style.to_ascii_lowercase().contains("display:none") {
            element.remove();
        }
        Ok(())
    });
    let images = element!("[src]", |element| {
        let is_inside = element
            .get_attribute("src")
            .is_some_and(|src| src.trim_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")));
        if is_inside {
            element.remove_attribute("src");
        }
        Ok(())
    });
    let in_elements = comments!("*", |comment| {
        comment.remove();
        Ok(())
    });
    let elsewhere = doc_comments!(|comment| {
        comment.remove();
        Ok(())
    });
    let settings = [nothing, hidden, images, in_elements]
        .into_iter()
        .fold(RewriteStrSettings::new(), RewriteStrSettings::append_element_content_handler)
        .append_document_content_handler(elsewhere);
    rewrite_str(html, settings).ok()
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
    fn what_nobody_reads_is_left_out_before_the_bound() {
        let style = format!("<style>{}</style>", ".x{color:red}".repeat(20_000));
        let image = format!("<img src=\"data:image/png;base64,{}\">", "A".repeat(200_000));
        let comment = format!("<!--{}-->", "x".repeat(100_000));
        for filler in [style, image, comment] {
            let html = format!(
                "<html><head><title>Untitled</title></head><body>{filler}<p>The order is 4711.</p></body></html>"
            );
            let (cleaned, cut) = clean_html(&html, 10_000);
            assert!(cleaned.contains("<p>The order is 4711.</p>") && !cleaned.contains("Untitled"), "{cleaned}");
            assert!(!cut);
        }
        assert_eq!(clean_html("<p>a</p><div style='DISPLAY: none'>b</div>", 100).0, "<p>a</p>");
    }

    #[test]
    fn addresses_lead_nowhere_but_into_the_message() {
        let (cleaned, _) = clean_html(
            "<img src=\"CID:logo\"><q cite=\"javascript:x()\">a</q><blockquote cite=\"http://spy\">b",
            1_000,
        );
        assert_eq!(cleaned, "<img src=\"cid:logo\"><q>a</q><blockquote>b</blockquote>");
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
