//! Deterministic mail: the same sender and number give the same message on every machine.
//!
//! Sizes are those of a business mailbox: mean about 15 kB, the largest twentieth above 78 kB.

use std::{
    error::Error,
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mailrail_domain::Timestamp;

/// When the first message was received; each later one comes some minutes after the one before.
const BEGINNING: i64 = 1_767_225_600;
const MINUTES_BETWEEN: i64 = 37;
/// Longest line of base64 (RFC 2045 section 6.8).
const BASE64_LINE: usize = 76;
/// Replies go to one of so many messages before them.
const THREAD_REACH: u64 = 12;

const WORDS: [&str; 40] = [
    "contract",
    "offer",
    "meeting",
    "invoice",
    "quarterly",
    "pipeline",
    "customer",
    "renewal",
    "ticket",
    "delivery",
    "warehouse",
    "factory",
    "valve",
    "order",
    "price",
    "discount",
    "urgent",
    "review",
    "project",
    "schedule",
    "budget",
    "forecast",
    "agreement",
    "purchase",
    "supplier",
    "quality",
    "audit",
    "sample",
    "shipment",
    "customs",
    "payment",
    "account",
    "appointment",
    "visit",
    "callback",
    "product",
    "licence",
    "server",
    "report",
    "summary",
];
const FOREIGN: [&str; 8] = ["Müller", "Łukasz", "José", "北京", "日本語", "Привет", "Ελλάδα", "façade"];

/// A generator of numbers (SplitMix64).
struct Dice(u64);

impl Dice {
    fn of(sender: &str, number: u32) -> Self {
        let hash = sender.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(hash ^ (u64::from(number) << 32))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        let at = self.below(of.len() as u64);
        of.get(usize::try_from(at).unwrap_or(0)).copied().unwrap_or_default()
    }
}

/// A message with the ends of lines that a Maildir has, and when it was received.
struct Letter {
    raw: String,
    received_at: Timestamp,
}

fn letter(sender: &str, number: u32) -> Letter {
    let mut dice = Dice::of(sender, number);
    let minutes = i64::from(number) * MINUTES_BETWEEN + i64::try_from(dice.below(30)).unwrap_or(0);
    let received_at = mailrail_domain::seconds_after(epoch(), minutes * 60);
    let date = received_at.to_rfc2822();
    let mut raw = String::with_capacity(8_192);
    for hop in 0..dice.between(2, 6) {
        raw.push_str(&format!(
            "Received: from h{hop}.{}.example (h{hop}.example [192.0.2.{}])\n\tby mx{hop}.example.test with ESMTPS \
             id {:x};\n\t{date}\n",
            dice.one(&WORDS),
            dice.between(1, 254),
            dice.next()
        ));
    }
    raw.push_str("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=acme.example; s=s1;\n");
    let signature = base64(&noise(&mut dice, 256));
    raw.push_str(&format!("\tb={}\n", signature.trim_end().replace('\n', "\n\t ")));
    let name = if dice.percent(30) { encoded_word(dice.one(&FOREIGN)) } else { dice.one(&WORDS).to_owned() };
    raw.push_str(&format!("From: {name} <{}@acme.example>\nTo: {sender}\n", dice.one(&WORDS)));
    if dice.percent(30) {
        let others: Vec<String> =
            (0..dice.between(1, 5)).map(|n| format!("{}{n}@acme.example", dice.one(&WORDS))).collect();
        raw.push_str(&format!("Cc: {}\n", others.join(",\n\t")));
    }
    let answered = u64::from(number).checked_sub(dice.between(1, THREAD_REACH)).filter(|_| dice.percent(45));
    let mut subject = sentence(&mut dice, 5);
    if dice.percent(25) {
        subject = format!("{subject} {}", encoded_word(dice.one(&FOREIGN)));
    }
    let prefix = if answered.is_some() { "Re: " } else { "" };
    raw.push_str(&format!(
        "Subject: {prefix}{subject}\nDate: {date}\nMessage-ID: {}\n",
        message_id(sender, number.into())
    ));
    if let Some(answered) = answered {
        let answered = message_id(sender, answered);
        raw.push_str(&format!("In-Reply-To: {answered}\nReferences: {answered}\n"));
    }
    raw.push_str("MIME-Version: 1.0\n");
    body(&mut dice, &mut raw, number);
    Letter { raw, received_at }
}

fn epoch() -> Timestamp {
    Timestamp::from_timestamp(BEGINNING, 0).unwrap_or_default()
}

fn message_id(sender: &str, number: u64) -> String {
    format!("<{number:08}.{}@mx.example>", sender.replace('@', "."))
}

/// Text alone, text and HTML, a newsletter, attachments, or a forwarded message.
fn body(dice: &mut Dice, raw: &mut String, number: u32) {
    match dice.below(100) {
        0..45 => match dice.below(3) {
            0 => {
                raw.push_str("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n");
                raw.push_str(&short_text(dice));
            }
            1 => {
                raw.push_str("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n");
                raw.push_str(&base64(short_text(dice).as_bytes()));
            }
            _ => {
                raw.push_str(
                    "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n",
                );
                raw.push_str(&quoted_printable(&short_text(dice)));
            }
        },
        45..70 => {
            let text = short_text(dice);
            let html = text.replace("\n\n", "</p><p style=\"font-family:Calibri;margin:0\">");
            alternative(raw, number, &text, &format!("<html><body><p>{html}</p></body></html>\n"));
        }
        70..85 => {
            let kilobytes = dice.between(8, 18);
            let text = paragraphs(dice, kilobytes * 1_024);
            let cells =
                text.replace("\n\n", "</td></tr><tr><td bgcolor=\"#f0f0f0\"><a href=\"https://news.example/\">");
            let style = "td{padding:4px;color:#333}".repeat(60);
            let html =
                format!("<html><head><style>{style}</style></head><body><table><tr><td>{cells}</table></body>\n");
            alternative(raw, number, "See the HTML version.\n", &html);
        }
        85..97 => {
            raw.push_str(&format!("Content-Type: multipart/mixed; boundary=\"mixed-{number}\"\n\n--mixed-{number}\n"));
            raw.push_str("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n");
            raw.push_str(&quoted_printable(&paragraphs(dice, 1_500)));
            let attachments = if dice.percent(85) { 1 } else { 2 };
            for part in 0..attachments {
                let bytes = dice.between(31_000, 76_000);
                let content = noise(dice, usize::try_from(bytes).unwrap_or(0));
                raw.push_str(&format!(
                    "--mixed-{number}\nContent-Type: application/pdf; name=\"offer-{part}.pdf\"\n\
                     Content-Disposition: attachment; filename=\"offer-{part}.pdf\"\n\
                     Content-Transfer-Encoding: base64\n\n{}",
                    base64(&content)
                ));
            }
            raw.push_str(&format!("--mixed-{number}--\n"));
        }
        _ => {
            raw.push_str(&format!(
                "Content-Type: multipart/mixed; boundary=\"outer-{number}\"\n\n--outer-{number}\n\
                 Content-Type: text/plain\n\nForwarded.\n--outer-{number}\nContent-Type: message/rfc822\n\n\
                 From: inner@acme.example\nSubject: inner\nMessage-ID: <inner-{number}@acme.example>\n\n{}\
                 --outer-{number}--\n",
                paragraphs(dice, 3_072)
            ));
        }
    }
}

fn alternative(raw: &mut String, number: u32, text: &str, html: &str) {
    raw.push_str(&format!("Content-Type: multipart/alternative; boundary=\"alt-{number}\"\n\n"));
    for (kind, content) in [("plain", text), ("html", html)] {
        raw.push_str(&format!(
            "--alt-{number}\nContent-Type: text/{kind}; charset=utf-8\n\
             Content-Transfer-Encoding: quoted-printable\n\n{}",
            quoted_printable(content)
        ));
    }
    raw.push_str(&format!("--alt-{number}--\n"));
}

/// Mostly one or two kilobytes, now and then ten.
fn short_text(dice: &mut Dice) -> String {
    let (a, b) = (dice.between(20, 100), dice.between(20, 100));
    let kilobyte_percents = if dice.percent(10) { a * b / 10 } else { a * b / 25 };
    paragraphs(dice, kilobyte_percents * 1_024 / 100)
}

fn paragraphs(dice: &mut Dice, bytes: u64) -> String {
    let mut text = String::new();
    while (text.len() as u64) < bytes {
        let words = dice.between(20, 90);
        text.push_str(&sentence(dice, words));
        if dice.percent(15) {
            text.push(' ');
            text.push_str(dice.one(&FOREIGN));
        }
        text.push_str("\n\n");
    }
    text
}

fn sentence(dice: &mut Dice, words: u64) -> String {
    let chosen: Vec<&str> = (0..words).map(|_| dice.one(&WORDS)).collect();
    // Lines as an editor breaks them.
    chosen.chunks(10).map(|line| line.join(" ")).collect::<Vec<_>>().join("\n ")
}

fn noise(dice: &mut Dice, bytes: usize) -> Vec<u8> {
    let mut noise: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| dice.next().to_le_bytes()).collect();
    noise.truncate(bytes);
    noise
}

fn base64(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / BASE64_LINE + 1);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(BASE64_LINE));
        lines.push_str(line);
        lines.push('\n');
        rest = after;
    }
    lines
}

fn quoted_printable(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + text.len() / 8);
    let mut column = 0;
    for byte in text.bytes() {
        if byte == b'\n' {
            encoded.push('\n');
            column = 0;
            continue;
        }
        if column > 70 {
            encoded.push_str("=\n");
            column = 0;
        }
        if byte.is_ascii() && byte != b'=' {
            encoded.push(char::from(byte));
            column += 1;
        } else {
            encoded.push_str(&format!("={byte:02X}"));
            column += 3;
        }
    }
    encoded
}

fn encoded_word(text: &str) -> String {
    format!("=?utf-8?B?{}?=", STANDARD.encode(text))
}

/// Puts messages into the inbox of `address` below `store`: as read ones, or as ones that have just come. Answers how
/// many bytes they have on the wire.
pub(crate) fn deliver(
    store: &Path,
    address: &str,
    numbers: std::ops::Range<u32>,
    new: bool,
) -> Result<u64, Box<dyn Error>> {
    let maildir = maildir(store, address)?;
    let mut bytes = 0;
    for number in numbers {
        let Letter { raw, received_at } = letter(address, number);
        bytes += file(&maildir, &raw, received_at, number, new)?;
    }
    Ok(bytes)
}

/// Puts one message of `bytes` into the inbox of `address`, nearly all of it an attachment.
pub(crate) fn deliver_large(store: &Path, address: &str, bytes: usize) -> Result<u64, Box<dyn Error>> {
    let maildir = maildir(store, address)?;
    let mut raw = format!(
        "From: large@acme.example\nTo: {address}\nSubject: large\nMessage-ID: {}\nMIME-Version: 1.0\n\
         Content-Type: multipart/mixed; boundary=\"large\"\n\n--large\nContent-Type: text/plain\n\nSee the file.\n\
         --large\nContent-Type: application/zip; name=\"large.zip\"\nContent-Transfer-Encoding: base64\n\
         Content-Disposition: attachment; filename=\"large.zip\"\n\n",
        message_id(address, 0)
    );
    // What a line of base64 takes on the wire, and what it stands for.
    let lines = bytes.saturating_sub(raw.len()) / (BASE64_LINE + 2);
    raw.push_str(&base64(&noise(&mut Dice::of(address, 0), lines * BASE64_LINE / 4 * 3)));
    raw.push_str("--large--\n");
    file(&maildir, &raw, epoch(), 0, false)
}

fn maildir(store: &Path, address: &str) -> Result<std::path::PathBuf, Box<dyn Error>> {
    let home = store.join(address);
    let maildir = home.join("Maildir");
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(part))?;
        give(&maildir.join(part), store)?;
    }
    give(&maildir, store)?;
    give(&home, store)?;
    Ok(maildir)
}

fn file(maildir: &Path, raw: &str, received_at: Timestamp, number: u32, new: bool) -> Result<u64, Box<dyn Error>> {
    // Both sizes stand in the name, as Dovecot writes it, so that no server has to read a file to know them.
    let on_the_wire = raw.len() + raw.bytes().filter(|byte| *byte == b'\n').count();
    let seconds = received_at.timestamp();
    let name = format!("{seconds}.M{number:06}P1.bench,S={},W={on_the_wire}", raw.len());
    let path = if new { maildir.join("new").join(name) } else { maildir.join("cur").join(format!("{name}:2,S")) };
    fs::write(&path, raw)?;
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds)?);
    fs::File::options().write(true).open(&path)?.set_modified(modified)?;
    give(&path, maildir)?;
    Ok(on_the_wire as u64)
}

/// Gives `path` to the owner of `like`. Only root may, and only root needs to.
fn give(path: &Path, like: &Path) -> Result<(), Box<dyn Error>> {
    let (owner, mine) = (fs::metadata(like)?, fs::metadata(path)?);
    if mine.uid() != owner.uid() {
        chown(path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// The sizes of the messages of one mailbox: mean, median and the one that a twentieth is above.
pub(crate) fn sizes(address: &str, count: u32) -> (usize, usize, usize) {
    let mut sizes: Vec<usize> = (0..count).map(|number| letter(address, number).raw.len()).collect();
    sizes.sort_unstable();
    let at = |percent: usize| sizes.get(sizes.len() * percent / 100).copied().unwrap_or(0);
    (sizes.iter().sum::<usize>() / sizes.len().max(1), at(50), at(95))
}
