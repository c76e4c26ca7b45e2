//! What a server says it can do (FEAT, RFC 2389), and what else a survey found.

use super::quirks::Quirk;
use super::reply::Reply;

/// A server's abilities as it tells them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// Name in upper case, and its parameters.
    list: Vec<(String, String)>,
    /// What SYST said; asked only where there is no MLST.
    pub system: Option<Vec<u8>>,
    /// The directory after login, in the server's bytes.
    pub home: Option<Vec<u8>>,
    /// What the server calls itself in its reply to CSID.
    pub software: Option<String>,
    /// Whether OPTS UTF8 ON was taken.
    pub utf8: bool,
}

impl Features {
    /// Reads the reply to FEAT; anything but 2yz means none.
    pub(super) fn read(reply: &Reply, quirks: &mut Vec<Quirk>) -> Self {
        let mut list = Vec::new();
        if let [_, inner @ .., _] = &reply.lines[..]
            && reply.is_done()
        {
            if inner.first().is_some_and(|line| !line.starts_with(b" ")) {
                quirks.push(Quirk::FeaturesUnindented);
            }
            for line in inner {
                let line = String::from_utf8_lossy(line);
                let line = line.trim();
                let (name, parameters) = line.split_once(' ').unwrap_or((line, ""));
                list.push((name.to_ascii_uppercase(), parameters.to_owned()));
            }
        }
        Self {
            list,
            ..Self::default()
        }
    }

    /// Whether it has `name`, in upper case.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.parameters(name).is_some()
    }

    /// The parameters of `name`, in upper case; empty where there are none.
    #[must_use]
    pub fn parameters(&self, name: &str) -> Option<&str> {
        let found = self.list.iter().find(|(feature, _)| feature == name);
        found.map(|(_, parameters)| parameters.as_str())
    }

    /// Whether MLST tells less than it could of what we want (RFC 3659 §7.8: a star marks what it tells).
    pub(super) fn lacks_a_fact(&self) -> bool {
        self.parameters("MLST").is_some_and(|facts| {
            facts.split(';').any(|fact| {
                ["type", "size", "modify", "unique", "unix.mode"]
                    .contains(&fact.to_ascii_lowercase().as_str())
            })
        })
    }
}
