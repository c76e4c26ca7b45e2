//! Counters of a relay, and how Prometheus reads them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter or a gauge.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Its value.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn up(&self) {
        self.add(1);
    }

    fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $field:ident: $kind:literal,)+) => {
        /// What a relay counts; names ending in `_total` only grow.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $field: Count,)+
        }

        impl Metrics {
            /// The text form that Prometheus reads, every name with `pasarela_relay_` before it.
            #[must_use]
            pub fn render(&self) -> String {
                let mut out = String::new();
                $(
                    let name = concat!("pasarela_relay_", stringify!($field));
                    let help = concat!($($doc),+).trim();
                    let value = self.$field.value();
                    // Writing to a String does not fail.
                    let _ = writeln!(out, concat!("# HELP {0} {1}\n# TYPE {0} ", $kind, "\n{0} {2}"), name, help, value);
                )+
                out
            }
        }
    };
}

metrics! {
    /// Connections of clients that are open.
    connections: "gauge",
    /// Connections of clients that were accepted.
    connections_total: "counter",
    /// Connections that were closed at once because there were too many.
    connections_refused_total: "counter",
    /// Connections that did not authenticate themselves in time.
    unauthenticated_total: "counter",
    /// Requests with a name or a password that is wrong.
    wrong_credentials_total: "counter",
    /// Allocations that exist.
    allocations: "gauge",
    /// Allocations that were made.
    allocations_total: "counter",
    /// Peers that wait for their ConnectionBind.
    waiting: "gauge",
    /// Peers whose ConnectionBind did not come in time.
    unbound_total: "counter",
    /// Peers that were turned away for want of a permission.
    peers_refused_total: "counter",
    /// Streams that are carried.
    streams: "gauge",
    /// Streams that were carried or are.
    streams_total: "counter",
    /// Streams that ended with a reset.
    streams_reset_total: "counter",
    /// Bytes carried from clients to peers.
    bytes_to_peers_total: "counter",
    /// Bytes carried from peers to clients.
    bytes_to_clients_total: "counter",
    /// Connections to the port of the names that asked for no name that is lent.
    names_unknown_total: "counter",
    /// Dial-backs that were tried.
    dial_backs_total: "counter",
    /// Binding requests over UDP that were answered.
    udp_answered_total: "counter",
    /// Datagrams that were not answered.
    udp_dropped_total: "counter",
}

/// Counts something that exists for as long as this does.
#[derive(Debug)]
pub(crate) struct Gauge {
    metrics: std::sync::Arc<Metrics>,
    which: fn(&Metrics) -> &Count,
}

impl Gauge {
    pub(crate) fn new(metrics: &std::sync::Arc<Metrics>, which: fn(&Metrics) -> &Count) -> Self {
        which(metrics).up();
        Self {
            metrics: std::sync::Arc::clone(metrics),
            which,
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        (self.which)(&self.metrics).down();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_text_form_has_help_type_and_value() {
        let metrics = Arc::new(Metrics::default());
        let gauge = Gauge::new(&metrics, |metrics| &metrics.streams);
        metrics.bytes_to_peers_total.add(7);
        let text = metrics.render();
        assert!(text.contains("# TYPE pasarela_relay_streams gauge\npasarela_relay_streams 1\n"));
        assert!(text.contains(
            "# HELP pasarela_relay_bytes_to_peers_total Bytes carried from clients to peers.\n\
             # TYPE pasarela_relay_bytes_to_peers_total counter\npasarela_relay_bytes_to_peers_total 7\n"
        ));
        drop(gauge);
        assert_eq!(metrics.streams.value(), 0);
    }
}
