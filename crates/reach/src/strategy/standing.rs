//! What stands for the port since the ladder was climbed: a mapping, a punched port.

use async_trait::async_trait;

use super::{Strategy, Verdict, announceable};
use crate::{Endpoint, NetView, Published, Reason, Via, Want, lock};

/// What was published, for peers beyond the router.
#[derive(Debug)]
pub(crate) struct Standing(pub(crate) Published);

impl Standing {
    /// The best that stands for the port and that this peer can use. A relay's address serves only those who came
    /// through it, so that control and data have one address.
    fn find(&self, want: &Want) -> Option<Endpoint> {
        let ports = lock(&self.0.ports);
        let report = ports.get(&want.port)?.borrow();
        let fits = |rung: &&crate::Rung| {
            matches!(rung.via, Via::Mapped | Via::Punched)
                && rung
                    .outcome
                    .endpoint()
                    .is_some_and(|endpoint| endpoint.is_ipv4() == want.control.is_ipv4())
        };
        let best = report
            .rungs
            .iter()
            .filter(fits)
            .min_by_key(|rung| (!rung.outcome.is_verified(), rung.via))?;
        Some(Endpoint {
            announce: best.outcome.endpoint()?,
            via: best.via,
        })
    }
}

#[async_trait]
impl Strategy for Standing {
    fn via(&self) -> Via {
        Via::Mapped
    }

    fn judge(&self, want: &Want, view: &NetView) -> Verdict {
        if want.peer_is_local(view) {
            return Verdict::Refused(Reason::LocalPeer);
        }
        match self.find(want) {
            Some(endpoint) => announceable(endpoint.announce.ip(), want)
                .map_or_else(Verdict::Refused, |_| Verdict::Possible),
            None => Verdict::Refused(Reason::NothingStands),
        }
    }

    async fn open(&self, want: &Want, _view: &NetView) -> Result<Endpoint, Reason> {
        self.find(want).ok_or(Reason::NothingStands)
    }
}
