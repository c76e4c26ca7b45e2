//! The address that the peer connected to: right wherever no router stands between.

use std::net::SocketAddr;

use async_trait::async_trait;

use super::{Strategy, Verdict, announceable};
use crate::{Endpoint, Reason, Via, Want};

/// The first rung by nature and the last by order, as it never needs anybody.
#[derive(Debug)]
pub(crate) struct Direct;

#[async_trait]
impl Strategy for Direct {
    fn via(&self) -> Via {
        Via::Direct
    }

    fn judge(&self, want: &Want) -> Verdict {
        announceable(want.control.ip(), want).map_or_else(Verdict::Refused, |_| Verdict::Possible)
    }

    async fn open(&self, want: &Want) -> Result<Endpoint, Reason> {
        let host = announceable(want.control.ip(), want)?;
        Ok(Endpoint {
            announce: SocketAddr::new(host, want.port),
            via: Via::Direct,
        })
    }
}
