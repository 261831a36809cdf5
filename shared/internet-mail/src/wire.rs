//! Lines and counted bytes from a server, bounded in size and time, for the protocols that are made of them.

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use mailrail_connect::timed_out;
use mailrail_domain::words::{
    cause::{Cause, DeliveryError},
    evidence::{Evidence, Stage},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

/// Bytes that are asked for in one read.
const READ_BYTES: usize = 32 * 1024;

/// A connection that speaks in lines.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    buffer: BytesMut,
    wait: Duration,
    /// The stage of the session, for the evidence of a failure.
    pub stage: Stage,
}

/// A connection that is secured.
pub(crate) type SecureWire = Wire<TlsStream<TcpStream>>;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire<S> {
    pub(crate) fn new(stream: S, wait: Duration) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(READ_BYTES), wait, stage: Stage::Greeting }
    }

    /// The stream itself, before STARTTLS. Bytes that came before the handshake would be read as if they had been
    /// secured, so there must be none (the attack of CVE-2011-0411).
    pub(crate) fn into_plain(self) -> Result<S, DeliveryError> {
        if self.buffer.is_empty() {
            Ok(self.stream)
        } else {
            Err(self.violation("the server sent something between agreeing to TLS and the handshake"))
        }
    }

    /// Sends everything.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), DeliveryError> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout(self.wait, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(&error)),
            Err(_) => Err(timed_out(self.stage)),
        }
    }

    /// The next line without its line end; at most `bytes_max` bytes.
    pub(crate) async fn line(&mut self, bytes_max: usize) -> Result<Bytes, DeliveryError> {
        let mut searched = 0;
        loop {
            if let Some(found) = memchr::memchr(b'\n', self.buffer.get(searched..).unwrap_or_default()) {
                let mut line = self.buffer.split_to(searched + found + 1).freeze();
                line.truncate(line.len() - 1);
                if line.last() == Some(&b'\r') {
                    line.truncate(line.len() - 1);
                }
                return Ok(line);
            }
            searched = self.buffer.len();
            if searched > bytes_max {
                return Err(self.violation(&format!("the server sent a line of more than {bytes_max} bytes")));
            }
            self.fill().await?;
        }
    }

    /// Exactly `count` bytes; the caller has checked that they may be held.
    pub(crate) async fn exactly(&mut self, count: usize) -> Result<Bytes, DeliveryError> {
        if self.buffer.len() >= count {
            return Ok(self.buffer.split_to(count).freeze());
        }
        let mut all = BytesMut::with_capacity(count);
        all.extend_from_slice(&self.buffer);
        self.buffer.clear();
        while all.len() < count {
            let mut rest = (&mut all).limit_to(count);
            let reading = self.stream.read_buf(&mut rest);
            match timeout(self.wait, reading).await {
                Ok(Ok(0)) => return Err(self.ended()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(self.lost(&error)),
                Err(_) => return Err(timed_out(self.stage)),
            }
        }
        Ok(all.freeze())
    }

    /// What has been received and not yet taken; at least one byte.
    pub(crate) async fn available(&mut self) -> Result<&BytesMut, DeliveryError> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(&self.buffer)
    }

    /// Drops the first `count` bytes of what is available.
    pub(crate) fn consume(&mut self, count: usize) {
        self.buffer.advance(count.min(self.buffer.len()));
    }

    /// Receives more bytes and appends them to the buffer.
    pub(crate) async fn fill(&mut self) -> Result<(), DeliveryError> {
        self.buffer.reserve(READ_BYTES);
        match timeout(self.wait, self.stream.read_buf(&mut self.buffer)).await {
            Ok(Ok(0)) => Err(self.ended()),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.lost(&error)),
            Err(_) => Err(timed_out(self.stage)),
        }
    }

    /// The failure of a server that did not follow the protocol.
    pub(crate) fn violation(&self, words: &str) -> DeliveryError {
        DeliveryError::new(Cause::ProtocolViolation, Evidence::new(self.stage, words))
    }

    fn ended(&self) -> DeliveryError {
        DeliveryError::new(Cause::ConnectionLost, Evidence::new(self.stage, "the server closed the connection"))
    }

    fn lost(&self, error: &io::Error) -> DeliveryError {
        let cause = match error.kind() {
            io::ErrorKind::TimedOut => Cause::TimedOut,
            // Such as a TLS record that does not decrypt: this connection is useless now, but a new connection may
            // work.
            _ => Cause::ConnectionLost,
        };
        DeliveryError::new(cause, Evidence::new(self.stage, &error.to_string()))
    }
}

/// Reading into a buffer without growing it beyond what was asked for.
trait LimitTo {
    fn limit_to(self, total: usize) -> bytes::buf::Limit<Self>
    where
        Self: Sized;
}

impl LimitTo for &mut BytesMut {
    fn limit_to(self, total: usize) -> bytes::buf::Limit<Self> {
        let left = total.saturating_sub(self.len());
        bytes::BufMut::limit(self, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(bytes: &'static [u8]) -> Wire<tokio_test_stream::Scripted> {
        Wire::new(tokio_test_stream::Scripted(bytes), Duration::from_secs(1))
    }

    /// A stream that hands out a script three bytes at a time.
    mod tokio_test_stream {
        use std::{
            pin::Pin,
            task::{Context, Poll},
        };

        use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

        pub(super) struct Scripted(pub &'static [u8]);

        impl AsyncRead for Scripted {
            fn poll_read(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<std::io::Result<()>> {
                let (now, later) = self.0.split_at(self.0.len().min(3).min(buf.remaining()));
                buf.put_slice(now);
                self.0 = later;
                Poll::Ready(Ok(()))
            }
        }

        impl AsyncWrite for Scripted {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, b: &[u8]) -> Poll<std::io::Result<usize>> {
                Poll::Ready(Ok(b.len()))
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
                Poll::Ready(Ok(()))
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
    }

    #[tokio::test]
    async fn lines_and_counted_bytes_come_out_as_they_went_in() {
        let mut wire = wire(b"* OK {5}\r\nhel\nlo)\nend");
        assert_eq!(wire.line(100).await.unwrap(), "* OK {5}");
        assert_eq!(wire.exactly(6).await.unwrap(), "hel\nlo");
        assert_eq!(wire.line(100).await.unwrap(), ")");
        assert_eq!(wire.line(100).await.unwrap_err().cause, Cause::ConnectionLost);
    }

    #[tokio::test]
    async fn an_endless_line_is_refused() {
        let error = wire(b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx").line(10).await.unwrap_err();
        assert_eq!(error.cause, Cause::ProtocolViolation);
    }
}
