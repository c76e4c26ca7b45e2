//! The address that the peer connected to: right wherever no router stands between.

use std::net::SocketAddr;

use async_trait::async_trait;

use super::{Strategy, Verdict, announceable, is_behind_nat};
use crate::{Endpoint, NetView, Reason, Via, Want};

/// The first rung by nature and the last by order, as it never needs anybody.
#[derive(Debug)]
pub(crate) struct Direct;

#[async_trait]
impl Strategy for Direct {
    fn via(&self) -> Via {
        Via::Direct
    }

    fn judge(&self, want: &Want, _view: &NetView) -> Verdict {
        announceable(want.control.ip(), want).map_or_else(Verdict::Refused, |_| Verdict::Possible)
    }

    async fn open(&self, want: &Want, view: &NetView) -> Result<Endpoint, Reason> {
        let own = announceable(want.control.ip(), want)?;
        // A peer from outside that reached a private address came through a forward that nobody told us of. The
        // address before the router is the one that the Internet sees us at; the port can only be taken to be the same.
        if let Some(seen) = view.seen_v4.filter(|seen| *seen != own)
            && is_behind_nat(own)
            && !want.peer_is_local(view)
        {
            return Ok(Endpoint {
                announce: SocketAddr::new(seen, want.port),
                via: Via::Fixed,
            });
        }
        Ok(Endpoint {
            announce: SocketAddr::new(own, want.port),
            via: Via::Direct,
        })
    }
}
