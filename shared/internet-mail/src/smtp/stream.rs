//! The stream that lettre speaks over.

use std::{
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

/// A secured connection. lettre begins every connection by reading a greeting. After STARTTLS there is none, so this
/// stream supplies one.
#[derive(Debug)]
pub(crate) struct SmtpStream {
    stream: TlsStream<TcpStream>,
    greeting: &'static [u8],
    /// Bytes that were received since something was sent.
    heard: usize,
}

impl SmtpStream {
    /// A connection whose server will greet.
    pub(super) fn ungreeted(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, greeting: b"", heard: 0 }
    }

    /// A connection whose server has greeted before it was secured.
    pub(super) fn greeted(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, greeting: b"220 secured\r\n", heard: 0 }
    }
}

impl AsyncTokioStream for SmtpStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.get_ref().0.peer_addr()
    }
}

impl AsyncRead for SmtpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.greeting.is_empty() {
            if self.heard > REPLY_BYTES_MAX {
                let words = format!("the server sent a reply of more than {REPLY_BYTES_MAX} bytes");
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, words)));
            }
            let before = buf.filled().len();
            let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
            self.heard += buf.filled().len() - before;
            return polled;
        }
        let (now, later) = self.greeting.split_at(self.greeting.len().min(buf.remaining()));
        buf.put_slice(now);
        self.greeting = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SmtpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.heard = 0;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
