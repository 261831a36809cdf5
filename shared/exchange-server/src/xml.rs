//! XML as web services send and take it. A document is read as it arrives, with a limit on every dimension, and may do
//! nothing but hold data. A document is written with every value escaped.
//!
//! Replies of real servers often do not follow their own schema, so elements are recognized by their local names, in
//! any order.

use std::{io, pin::Pin, time::Duration};

use async_compression::tokio::bufread::GzipDecoder;
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt};
use mailrail_connect::timed_out;
use mailrail_domain::words::{
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
};
use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};
use reqwest::{Response, header::CONTENT_ENCODING};
use sync_wrapper::SyncStream;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader, Take},
    time::timeout,
};
use tokio_util::io::StreamReader;

/// Longest document, without the content of messages, in bytes.
const DOCUMENT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Longest tag or text of a document, in bytes. Synchronization states are the longest texts that are asked for.
const PIECE_BYTES_MAX: u64 = 1024 * 1024;
/// Deepest nesting of elements; replies have about ten.
const DEPTH_MAX: usize = 64;
/// Base64 as servers write it, with its padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// An element begins.
    Start(Element),
    /// The element that began last ends.
    End,
    /// Text, or a piece of it.
    Text(String),
    /// The document ends.
    Over,
}

/// An element with everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Element {
    /// Its local name.
    pub name: String,
    /// Its attributes by local name.
    pub attributes: Vec<(String, String)>,
    /// Its own text, all pieces together.
    pub text: String,
    /// The elements in it.
    pub children: Vec<Element>,
}

impl Element {
    /// The first child of this name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The element at the end of a path of child names.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    /// The text of the element at the end of a path, without white space around it; `None` if it is empty.
    pub(crate) fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path).map(|element| element.text.trim()).filter(|text| !text.is_empty())
    }

    /// Children of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// An attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The first element of this name at any depth, this one included.
    pub(crate) fn find(&self, name: &str) -> Option<&Self> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }
}

type Body = Pin<Box<dyn AsyncBufRead + Send + Sync>>;

/// A document that is being read.
pub(crate) struct Document<R = Body> {
    reader: Reader<Take<R>>,
    buffer: Vec<u8>,
    depth: usize,
    /// Bytes that may still come.
    left: u64,
    stage: Stage,
    wait: Duration,
}

impl<R> std::fmt::Debug for Document<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document").field("depth", &self.depth).field("left", &self.left).finish_non_exhaustive()
    }
}

impl Document {
    /// The document in a reply. Each piece may take `wait`; failures are reported at `stage`.
    pub(crate) fn of(response: Response, stage: Stage, wait: Duration) -> Self {
        let coding = response.headers().get(CONTENT_ENCODING).and_then(|coding| coding.to_str().ok());
        let is_gzip = coding.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("gzip"));
        let stream = response.bytes_stream().map_err(io::Error::other);
        let stream: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> = Box::pin(stream);
        let coded = StreamReader::new(SyncStream::new(stream));
        let body: Body = if is_gzip { Box::pin(BufReader::new(GzipDecoder::new(coded))) } else { Box::pin(coded) };
        Self::read_from(body, stage, wait)
    }
}

impl<R: AsyncBufRead + Unpin> Document<R> {
    fn read_from(source: R, stage: Stage, wait: Duration) -> Self {
        let mut reader = Reader::from_reader(source.take(PIECE_BYTES_MAX));
        reader.config_mut().expand_empty_elements = true;
        Self { reader, buffer: Vec::new(), depth: 0, left: DOCUMENT_BYTES_MAX, stage, wait }
    }

    fn broken(&self, words: &str) -> DeliveryError {
        DeliveryError::new(Cause::ProtocolViolation, Evidence::new(self.stage, words))
    }

    /// The next part.
    pub(crate) async fn next(&mut self) -> Result<Token, DeliveryError> {
        loop {
            self.buffer.clear();
            self.reader.get_mut().set_limit(PIECE_BYTES_MAX.min(self.left));
            let before = self.reader.buffer_position();
            let read = timeout(self.wait, self.reader.read_event_into_async(&mut self.buffer)).await;
            let token = match read {
                Err(_) => return Err(timed_out(self.stage)),
                Ok(Err(error)) => return Err(failure(&error, self.stage)),
                Ok(Ok(event)) => token(event)
                    .map_err(|words| DeliveryError::new(Cause::ProtocolViolation, Evidence::new(self.stage, &words)))?,
            };
            self.left = self.left.saturating_sub(self.reader.buffer_position() - before);
            match token {
                Some(Token::Start(_)) if self.depth >= DEPTH_MAX => {
                    return Err(self.broken("the reply's elements are nested too deep"));
                }
                Some(Token::Start(element)) => {
                    self.depth += 1;
                    return Ok(Token::Start(element));
                }
                Some(Token::End) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Token::End);
                }
                Some(Token::Over) if self.depth > 0 || self.left == 0 => {
                    let cause = if self.left == 0 { Cause::ProtocolViolation } else { Cause::ConnectionLost };
                    let words = "the reply ends in the middle, or is longer than any that is asked for";
                    return Err(DeliveryError::new(cause, Evidence::new(self.stage, words)));
                }
                Some(token) => return Ok(token),
                None => {}
            }
        }
    }

    /// The rest of an element that has just begun.
    pub(crate) async fn rest_of(&mut self, element: Element) -> Result<Element, DeliveryError> {
        // Every element has a name, so the empty name never matches.
        let rest = self.rest_before(element, "").await?;
        rest.ok_or_else(|| self.broken("an element has no name"))
    }

    /// The rest of an element that has just begun. `None` if an element with this name begins in it; then that element
    /// has just begun.
    pub(crate) async fn rest_before(&mut self, element: Element, name: &str) -> Result<Option<Element>, DeliveryError> {
        let mut open = vec![element];
        loop {
            match self.next().await? {
                Token::Start(element) if element.name == name => return Ok(None),
                Token::Start(element) => open.push(element),
                Token::Text(text) => {
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(&text);
                    }
                }
                Token::End => match (open.pop(), open.last_mut()) {
                    (Some(element), Some(parent)) => parent.children.push(element),
                    (Some(element), None) => return Ok(Some(element)),
                    (None, _) => return Err(self.broken("an element ends that did not begin")),
                },
                Token::Over => return Err(self.broken("the reply ends in the middle")),
            }
        }
    }

    /// The whole document, from its first element on.
    pub(crate) async fn whole(&mut self) -> Result<Element, DeliveryError> {
        loop {
            match self.next().await? {
                Token::Start(element) => return self.rest_of(element).await,
                Token::Text(text) if text.trim().is_empty() => {}
                Token::Text(_) | Token::End | Token::Over => return Err(self.broken("the reply is no XML")),
            }
        }
    }

    /// Reads what is left, so that the connection can be used again. A failure shows at the next request.
    pub(crate) async fn finish(&mut self) {
        while let Ok(token) = self.next().await {
            if token == Token::Over {
                return;
            }
        }
    }

    /// The decoded content of an element whose text is base64 and that has just begun: at least `most` bytes, or up to
    /// its end. Also returns whether the element has ended. `carry` keeps the undecoded text from one call to the next.
    pub(crate) async fn base64(&mut self, most: usize, carry: &mut Vec<u8>) -> Result<(BytesMut, bool), DeliveryError> {
        let mut decoded = BytesMut::new();
        let (stage, wait) = (self.stage, self.wait);
        let broken = |words| DeliveryError::new(Cause::ProtocolViolation, Evidence::new(stage, words));
        while decoded.len() < most {
            self.reader.get_mut().set_limit(u64::MAX);
            let mut stream = self.reader.stream();
            let piece = match timeout(wait, stream.fill_buf()).await {
                Err(_) => return Err(timed_out(stage)),
                Ok(Err(error)) => return Err(lost(&error.to_string(), stage)),
                Ok(Ok([])) => return Err(lost("the reply ends in the middle of a message", stage)),
                Ok(Ok(piece)) => piece,
            };
            let end = piece.iter().position(|byte| *byte == b'<');
            let length = end.unwrap_or(piece.len());
            carry.extend(piece.iter().take(length).filter(|byte| !byte.is_ascii_whitespace()));
            stream.consume(length);
            if carry.contains(&b'&') {
                return Err(broken("the content of a message is not base64"));
            }
            let whole = if end.is_some() { carry.len() } else { carry.len() / 4 * 4 };
            let bytes = BASE64
                .decode(carry.get(..whole).unwrap_or_default())
                .map_err(|_| broken("the content of a message is not base64"))?;
            carry.drain(..whole);
            decoded.extend_from_slice(&bytes);
            if end.is_some() {
                return Ok((decoded, true));
            }
        }
        Ok((decoded, false))
    }
}

fn lost(words: &str, stage: Stage) -> DeliveryError {
    DeliveryError::new(Cause::ConnectionLost, Evidence::new(stage, words))
}

fn failure(error: &quick_xml::Error, stage: Stage) -> DeliveryError {
    match error {
        quick_xml::Error::Io(error) => lost(&error.to_string(), stage),
        error => {
            let evidence = Evidence::new(stage, &format!("the reply is no XML that can be read: {error}"));
            DeliveryError::new(Cause::ProtocolViolation, evidence)
        }
    }
}

/// An event as a token; `None` for an event that says nothing.
fn token(event: Event<'_>) -> Result<Option<Token>, String> {
    let token = match event {
        Event::Start(start) | Event::Empty(start) => Token::Start(element(&start)?),
        Event::End(_) => Token::End,
        Event::Text(text) => Token::Text(text.as_ref().to_owned()),
        Event::CData(text) => Token::Text(text.as_ref().to_owned()),
        Event::GeneralRef(reference) => Token::Text(referred(reference.as_ref())?.to_string()),
        Event::Decl(declaration) => {
            if let Some(encoding) = declaration.encoding() {
                let encoding = encoding.map_err(|error| error.to_string())?;
                if !["utf-8", "us-ascii"].iter().any(|known| known.eq_ignore_ascii_case(&encoding)) {
                    return Err(format!("the reply is written in {encoding}, and not in UTF-8"));
                }
            }
            return Ok(None);
        }
        Event::DocType(_) => return Err("the reply declares a document type, which no web service does".to_owned()),
        Event::Comment(_) | Event::PI(_) => return Ok(None),
        Event::Eof => Token::Over,
    };
    Ok(Some(token))
}

fn element(start: &BytesStart<'_>) -> Result<Element, String> {
    let mut attributes = Vec::new();
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
        attributes.push((attribute.key.local_name().as_ref().to_owned(), value.into_owned()));
    }
    Ok(Element { name: start.local_name().as_ref().to_owned(), attributes, ..Element::default() })
}

/// The character that a reference stands for. Only the five entities of XML itself exist. A character that XML does not
/// allow, which servers send in subjects, becomes a replacement character.
fn referred(reference: &str) -> Result<char, String> {
    let number = reference.strip_prefix('#').map(|number| match number.strip_prefix('x') {
        Some(number) => u32::from_str_radix(number, 16),
        None => number.parse(),
    });
    match (number, reference) {
        (Some(Ok(number)), _) => Ok(char::from_u32(number).filter(|c| is_allowed(*c)).unwrap_or('\u{fffd}')),
        (None, "amp") => Ok('&'),
        (None, "lt") => Ok('<'),
        (None, "gt") => Ok('>'),
        (None, "quot") => Ok('"'),
        (None, "apos") => Ok('\''),
        (Some(Err(_)) | None, _) => Err("the reply refers to an entity that XML does not have".to_owned()),
    }
}

/// Whether XML 1.0 allows the character (section 2.2).
const fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// A value as it stands in a document, without the characters that XML does not allow.
pub(crate) fn escaped(value: &str) -> String {
    let allowed: String = value.chars().filter(|c| is_allowed(*c)).collect();
    quick_xml::escape::escape(&allowed).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &[u8]) -> Document<&[u8]> {
        Document::read_from(text, Stage::List, Duration::from_secs(1))
    }

    async fn read(text: &str) -> Result<Element, DeliveryError> {
        document(text.as_bytes()).whole().await
    }

    #[tokio::test]
    async fn a_reply_that_is_compressed_unasked_is_read() {
        const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xb3\x49\xb4\xb3\xc9\xb5\x2b\x49\xad\x28\xb1\xd1\xcf\xb5\xb3\xd1\x4f\xb4\x03\x00\x5b\xa8\xad\x59\x12\x00\x00\x00";
        let response = hyper::Response::builder().header(CONTENT_ENCODING, "gzip").body(Bytes::from_static(GZIP));
        let mut document = Document::of(response.unwrap().into(), Stage::Fetch, Duration::from_secs(1));
        assert_eq!(document.whole().await.unwrap().find("m").map(|m| m.text.as_str()), Some("text"));
    }

    #[tokio::test]
    async fn elements_are_known_by_their_local_names() {
        let text = "\u{feff}<?xml version='1.0' encoding='UTF-8'?>\n<s:A xmlns:s='x' s:b=\"1 &amp; 2\"><!-- c --><s:C> a<![CDATA[<]]>&#x41;&lt;\
                    </s:C><D/><D n='2'/></s:A>";
        let element = read(text).await.unwrap();
        assert_eq!((element.name.as_str(), element.attribute("b")), ("A", Some("1 & 2")));
        assert_eq!(element.text_at(&["C"]), Some("a<A<"));
        assert_eq!(element.all("D").count(), 2);
        assert_eq!(element.find("D").and_then(|d| d.attribute("n")), None);
    }

    #[tokio::test]
    async fn what_is_no_data_is_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY b 'bb'><!ENTITY c '&b;&b;'>]><a>&c;</a>";
        let external = "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>";
        let deep = "<a>".repeat(DEPTH_MAX + 1);
        let long = format!("<a>{}</a>", "<b/>".repeat(usize::try_from(DOCUMENT_BYTES_MAX / 4).unwrap() + 1));
        let name = format!("<{}/>", "a".repeat(usize::try_from(PIECE_BYTES_MAX).unwrap() + 1));
        for text in [
            bomb,
            external,
            "<a>&nbsp;</a>",
            "<?xml version='1.0' encoding='ISO-8859-1'?><a/>",
            "<a></b>",
            "no XML at all",
            "",
            &deep,
            &long,
            &name,
        ] {
            let error = read(text).await.unwrap_err();
            assert_eq!(error.cause, Cause::ProtocolViolation, "{:.60}: {error}", text);
        }
        assert_eq!(document(b"<a>\xff</a>").whole().await.unwrap_err().cause, Cause::ProtocolViolation);
        let utf16: Vec<u8> = "\u{feff}<a/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(document(&utf16).whole().await.unwrap_err().cause, Cause::ProtocolViolation);
    }

    #[tokio::test]
    async fn a_reply_that_is_cut_off_is_a_lost_connection() {
        assert_eq!(read("<a><b>").await.unwrap_err().cause, Cause::ConnectionLost);
    }

    #[tokio::test]
    async fn characters_that_xml_does_not_allow_become_marks() {
        assert_eq!(read("<a>x&#x1f;y&#0;&#xfffe;</a>").await.unwrap().text, "x\u{fffd}y\u{fffd}\u{fffd}");
        assert_eq!(escaped("a\u{1}<\"&\u{fffe}"), "a&lt;&quot;&amp;");
    }

    #[tokio::test]
    async fn base64_is_decoded_piece_by_piece() {
        let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let encoded = BASE64.encode(&content);
        let lines: Vec<&str> = encoded.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let text = format!("<a><m>{}\r\n</m><n>1</n></a>", lines.join("\r\n"));
        // A small buffer, as a connection hands pieces over.
        let source = tokio::io::BufReader::with_capacity(1_001, text.as_bytes());
        let mut document = Document::read_from(source, Stage::Fetch, Duration::from_secs(1));
        for name in ["a", "m"] {
            assert!(matches!(document.next().await.unwrap(), Token::Start(element) if element.name == name));
        }
        let (mut decoded, mut carry) = (BytesMut::new(), Vec::new());
        let mut pieces = 0;
        loop {
            let (piece, is_ended) = document.base64(10_000, &mut carry).await.unwrap();
            decoded.extend_from_slice(&piece);
            pieces += 1;
            if is_ended {
                break;
            }
        }
        assert!(decoded == content && pieces >= 10);
        assert_eq!(document.next().await.unwrap(), Token::End);
        assert!(matches!(document.next().await.unwrap(), Token::Start(element) if element.name == "n"));
        for wrong in ["<m>%%%%</m>", "<m>AA==AAAA</m>", "<m>&#x41;AAA</m>"] {
            let mut document = self::document(wrong.as_bytes());
            document.next().await.unwrap();
            let error = document.base64(100, &mut Vec::new()).await.unwrap_err();
            assert_eq!(error.cause, Cause::ProtocolViolation, "{wrong}");
        }
    }
}
