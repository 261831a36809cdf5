//! A notice as it is sent: plain text and HTML from two templates, with a link to the console.

use askama::Template;
use mailrail_domain::words::notice::Notice;

/// The plain text of a notice. What people and servers wrote stands in it as it is: nothing reads it as markup.
#[derive(Template)]
#[template(path = "notice.txt", escape = "none")]
struct Text<'a> {
    text: &'a str,
    link: Option<&'a str>,
}

/// The HTML of a notice. Whatever stands in its text is escaped by the template.
#[derive(Template)]
#[template(path = "notice.html")]
struct Html<'a> {
    subject: &'a str,
    paragraphs: Vec<Vec<&'a str>>,
    link: Option<&'a str>,
}

/// Text and HTML of a notice; `console_url` is where the console is, if the organization says so.
#[must_use]
pub fn rendered(notice: &Notice, console_url: Option<&str>) -> (String, Option<String>) {
    let link = console_url.map(|url| link(notice, url));
    let link = link.as_deref();
    // Writing to memory does not fail; the templates' signature is that of any writer.
    let text = Text { text: &notice.text, link }.render().unwrap_or_else(|_| notice.text.clone());
    let paragraphs = notice.text.split("\n\n").map(|paragraph| paragraph.lines().collect()).collect();
    let html = Html { subject: &notice.subject, paragraphs, link }.render().ok();
    (text, html)
}

fn link(notice: &Notice, console_url: &str) -> String {
    let base = console_url.trim_end_matches('/');
    match &notice.mailbox_id {
        Some(mailbox) => format!("{base}/v1/mailboxes/{mailbox}"),
        None => format!("{base}/v1/profiles/{}", notice.profile_id),
    }
}

#[cfg(test)]
mod tests {
    use mailrail_domain::{
        Timestamp,
        words::{
            address::EmailAddress,
            delivery::Delivery,
            id::{MailboxId, ProfileId},
            notice::{NoticeKind, NoticeStatus},
        },
    };

    use super::*;

    fn notice() -> Notice {
        let at = Timestamp::from_timestamp(1_700_000_000, 0).unwrap();
        Notice {
            id: "n1".into(),
            kind: NoticeKind::Disabled,
            to: EmailAddress::parse("owner@example.org").unwrap(),
            copy_to: None,
            mailbox_id: Some(MailboxId::parse("m1").unwrap()),
            about: "Sales".into(),
            profile_id: ProfileId::parse("p1").unwrap(),
            delivery: Delivery::IncomingEmail,
            subject: "The mailbox Sales & <Service> has been disabled".into(),
            text: "Email cannot be received.\n\nThe server's words:\n  535 <script>alert(1)</script>\n".into(),
            status: NoticeStatus::Pending,
            attempts: 0,
            next_attempt: at,
            last_error: None,
            created_at: at,
            sent_at: None,
        }
    }

    #[test]
    fn a_notice_is_readable_as_text_and_as_html_and_links_to_the_console() {
        let (text, html) = rendered(&notice(), Some("https://console.example.org/"));
        insta::assert_snapshot!(format!("{text}\n---\n{}", html.unwrap()));
    }

    #[test]
    fn what_others_wrote_is_no_markup() {
        let (text, html) = rendered(&notice(), None);
        assert!(text.contains("<script>") && !text.contains("http"));
        let html = html.unwrap();
        assert!(!html.contains("<script>") && !html.contains("href"), "{html}");
    }
}
