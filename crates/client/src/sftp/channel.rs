//! A channel of an SSH connection as the two directions of a session (RFC 4254 §5.2).

use std::io;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};

use super::wire::{Incoming, Outgoing};

/// What the server sends on a channel.
pub(super) struct FromServer(pub(super) ChannelReadHalf);

/// What the server is sent on a channel.
pub(super) struct ToServer(pub(super) ChannelWriteHalf<Msg>);

#[async_trait]
impl Incoming for FromServer {
    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        while let Some(message) = self.0.wait().await {
            match message {
                ChannelMsg::Data { data } if !data.is_empty() => {
                    buffer.extend_from_slice(&data);
                    return Ok(data.len());
                }
                ChannelMsg::ExtendedData { data, .. } => {
                    let said = data.get(..data.len().min(300)).unwrap_or_default();
                    tracing::debug!(said = %said.escape_ascii(), "the server's program says something");
                }
                ChannelMsg::Eof | ChannelMsg::Close => return Ok(0),
                _ => {}
            }
        }
        Ok(0)
    }
}

#[async_trait]
impl Outgoing for ToServer {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.data_bytes(bytes).await.map_err(io::Error::other)
    }

    async fn end(&mut self) {
        // It may be gone already.
        let _ = self.0.close().await;
    }
}
