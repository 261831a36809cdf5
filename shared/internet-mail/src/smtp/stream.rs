//! The stream that lettre speaks over. It hands over whole lines of replies, put right where lettre would misread them:
//!
//! - The code of a reply decides, whatever its text is (RFC 5321 section 4.2). lettre takes a text that is not UTF-8 for a
//!   broken connection.
//! - Keywords and mechanisms are read in any case (RFC 5321 section 2.4), and `AUTH=` is `AUTH `. lettre compares them as
//!   they are, and panics at a keyword line without a word.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// Most bytes that are received before something is sent again. lettre 0.11 holds a line of any length, and parses a
/// reply from its beginning again at every line, so a long reply holds up everybody.
const REPLY_BYTES_MAX: usize = 16 * 1024;

/// Bytes that are received at once.
const PIECE_BYTES: usize = 4 * 1024;

/// A secured connection. lettre begins every connection by reading a greeting. After STARTTLS there is none, so this
/// stream supplies one.
#[derive(Debug)]
pub(crate) struct SmtpStream {
    stream: TlsStream<TcpStream>,
    /// Bytes that were received since something was sent.
    heard: usize,
    /// The beginning of a line that has not ended.
    line: Vec<u8>,
    /// What is to be handed over.
    ready: VecDeque<u8>,
    /// Whether the replies to come answer EHLO, and how many of its lines have come.
    hello: Option<usize>,
    is_ended: bool,
}

impl SmtpStream {
    /// A connection whose server will greet.
    pub(super) fn ungreeted(stream: TlsStream<TcpStream>) -> Self {
        Self::beginning(stream, b"")
    }

    /// A connection whose server has greeted before it was secured.
    pub(super) fn greeted(stream: TlsStream<TcpStream>) -> Self {
        Self::beginning(stream, b"220 secured\r\n")
    }

    fn beginning(stream: TlsStream<TcpStream>, greeting: &[u8]) -> Self {
        let ready = greeting.iter().copied().collect();
        Self { stream, heard: 0, line: Vec::new(), ready, hello: None, is_ended: false }
    }

    /// Takes what was received, and makes the lines that are whole ready.
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.line.push(*byte);
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.ready.extend(put_right(line, self.hello));
                self.hello = self.hello.map(|lines| lines + 1);
            }
        }
    }
}

impl AsyncTokioStream for SmtpStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.get_ref().0.peer_addr()
    }
}

/// A line of a reply as lettre can read it. `hello` is its number among the lines that answer EHLO.
fn put_right(mut line: Vec<u8>, hello: Option<usize>) -> Vec<u8> {
    for byte in &mut line {
        if !byte.is_ascii() {
            *byte = b'?';
        }
    }
    let Some(number) = hello else {
        return line;
    };
    let has_text = matches!(line.get(3), Some(b'-' | b' '));
    let Some(text) = line.get_mut(4..).filter(|_| has_text) else {
        return line;
    };
    if number > 0 {
        text.make_ascii_uppercase();
        if text.starts_with(b"AUTH=")
            && let Some(equals) = text.get_mut(4)
        {
            *equals = b' ';
        }
    }
    if text.trim_ascii().is_empty() {
        line.truncate(4);
        line.extend_from_slice(b"X\r\n");
    }
    line
}

impl AsyncRead for SmtpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.ready.is_empty() && !self.is_ended {
            if self.heard > REPLY_BYTES_MAX {
                let words = format!("the server sent a reply of more than {REPLY_BYTES_MAX} bytes");
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, words)));
            }
            let mut piece = [0; PIECE_BYTES];
            let mut received = ReadBuf::new(&mut piece);
            match Pin::new(&mut self.stream).poll_read(cx, &mut received) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            self.is_ended = received.filled().is_empty();
            self.heard += received.filled().len();
            self.take(received.filled());
        }
        let length = self.ready.len().min(buf.remaining());
        for byte in self.ready.drain(..length) {
            buf.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SmtpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.heard = 0;
        self.hello = bytes.get(..4).filter(|word| word.eq_ignore_ascii_case(b"EHLO")).map(|_| 0);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_right_where_they_would_be_misread() {
        for (line, hello, right) in [
            (&b"550 5.1.1 \xd3\xc3\r\n"[..], None, "550 5.1.1 ??\r\n"),
            (b"250-mail.Example.test\r\n", Some(0), "250-mail.Example.test\r\n"),
            (b"250 auth plain login\r\n", Some(1), "250 AUTH PLAIN LOGIN\r\n"),
            (b"250-AUTH=Plain\r\n", Some(1), "250-AUTH PLAIN\r\n"),
            (b"250-   \r\n", Some(2), "250-X\r\n"),
            (b"250 \r\n", Some(0), "250 X\r\n"),
            (b"250\r\n", Some(1), "250\r\n"),
            (b"\r\n", Some(1), "\r\n"),
            (b"250 plain\r\n", None, "250 plain\r\n"),
        ] {
            let found = String::from_utf8(put_right(line.to_vec(), hello)).unwrap();
            assert_eq!(found, right, "{line:?}");
        }
    }
}
