//! The name: which addresses it has.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::advice::server as kinds;
use crate::examination::{Examination, milliseconds};
use crate::finding::Finding;
use crate::report::Report;

/// So many addresses are looked at.
const MOST: usize = 8;

/// The addresses that are connected to; `None`: there are none.
pub(crate) async fn check(examination: &Examination, report: &mut Report) -> Option<Vec<SocketAddr>> {
    let site = &examination.site;
    let start = Instant::now();
    let found = timeout(
        site.options.connect_timeout,
        lookup_host((site.host.as_str(), site.port)),
    )
    .await;
    let not_found = |why: String| Finding::new(&kinds::NAME_NOT_FOUND, why);
    let mut addresses: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found.take(64).collect(),
        Ok(Err(error)) => {
            report.add(not_found(format!("{} cannot be resolved: {error}", site.host)));
            return None;
        }
        Err(_) => {
            report.add(not_found(format!(
                "no name server tells the addresses of {} within {} s",
                site.host,
                start.elapsed().as_secs()
            )));
            return None;
        }
    };
    let all: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    addresses.retain(|address| site.options.family.has(*address));
    addresses.dedup();
    addresses.truncate(MOST);
    if addresses.is_empty() {
        let what = if all.is_empty() {
            "address"
        } else {
            "address of the wanted family"
        };
        report.add(not_found(format!("{} has no {what}", site.host)).all_evidence(all));
        return None;
    }
    if site.host.parse::<IpAddr>().is_err() {
        let elapsed = milliseconds(start.elapsed());
        report.fact("name.milliseconds", elapsed);
        report.add(
            Finding::new(&kinds::NAME_FOUND, format!("{} is {}", site.host, all.join(", ")))
                .evidence(format!("resolved in {elapsed} ms")),
        );
    }
    report.fact("name.addresses", all);
    Some(addresses)
}
