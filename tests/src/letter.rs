//! Messages to deliver.

use std::sync::atomic::{AtomicU32, Ordering};

use mailrail_domain::Timestamp;

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A message as its sender wrote it, with lines that end in CRLF.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Message-ID without angle brackets; without one, the message has none.
    pub message_id: Option<String>,
    /// When it was sent and received.
    pub at: Timestamp,
    /// Its subject.
    pub subject: String,
    fields: String,
    body: Vec<u8>,
}

impl Letter {
    /// A short text, received in 2024, with a Message-ID of its own.
    #[must_use]
    pub fn new(subject: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            message_id: Some(format!("letter-{number}@sender.test")),
            at: Timestamp::from_timestamp(1_720_000_000 + i64::from(number), 0).expect("a second of this century"),
            subject: subject.to_owned(),
            fields: String::new(),
            body: format!("The text of {subject}.\r\n").into_bytes(),
        }
    }

    /// The same without a Message-ID.
    #[must_use]
    pub fn without_message_id(mut self) -> Self {
        self.message_id = None;
        self
    }

    /// The same, sent and received at another moment.
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = at;
        self
    }

    /// The same with one more header field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// The same with another body; its lines end in CRLF.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// A reply to it.
    #[must_use]
    pub fn reply(&self, subject: &str) -> Self {
        let answered = format!("<{}>", self.message_id.as_deref().expect("a message that can be answered"));
        Self::new(subject).field("In-Reply-To", &answered).field("References", &answered)
    }

    /// Every byte of it.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        let date = self.at.to_rfc2822();
        let id = self.message_id.as_ref().map_or(String::new(), |id| format!("Message-ID: <{id}>\r\n"));
        let mut raw = format!(
            "Received: from sender.test by mail.example.test; {date}\r\nFrom: Sender <sender@sender.test>\r\n\
             To: Receiver <receiver@example.test>\r\nSubject: {}\r\nDate: {date}\r\n{id}{}\r\n",
            self.subject, self.fields
        )
        .into_bytes();
        raw.extend_from_slice(&self.body);
        raw
    }
}

/// `raw` as a server hands it out: every line ends in CRLF, whatever it ended in when it was stored.
#[must_use]
pub fn with_crlf(raw: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(raw.len() + raw.len() / 32);
    for byte in raw {
        if *byte == b'\n' && lines.last() != Some(&b'\r') {
            lines.push(b'\r');
        }
        lines.push(*byte);
    }
    lines
}

/// `raw` as Unix stores it: every line ends in LF.
#[must_use]
pub fn with_lf(raw: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(raw.len());
    for byte in raw {
        if *byte == b'\n' && lines.last() == Some(&b'\r') {
            lines.pop();
        }
        lines.push(*byte);
    }
    lines
}

/// Bytes that nobody wrote: `count` messages of growing length, the same each time.
#[must_use]
pub fn noise(count: usize) -> Vec<Vec<u8>> {
    let mut random = 7_u32;
    let mut byte = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    };
    (0..count).map(|n| (0..n * 13).map(|_| byte()).collect()).collect()
}
