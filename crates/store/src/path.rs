//! A pathname as the visitor sees it: absolute within the root, normalised, free of control bytes.

/// An absolute, normalised path within a backend's root. [`VirtualPath::resolve`] is the only way to make one
/// from what somebody typed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VirtualPath(Vec<Vec<u8>>);

/// Why a typed pathname is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It holds NUL, CR, LF or another control byte (C0, DEL).
    #[error("a control byte in a pathname")]
    ControlByte,
    /// A component over 255 bytes, or more than 4,096 in all.
    #[error("pathname too long")]
    TooLong,
}

impl VirtualPath {
    /// The root itself.
    #[must_use]
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// What `typed` means in this directory: absolute from the root when it begins with `/`; `.`, `..` and
    /// double slashes are resolved by text, and `..` above the root is the root.
    ///
    /// # Errors
    /// [`BadPath`] for control bytes and lengths that no file system takes.
    pub fn resolve(&self, typed: &[u8]) -> Result<Self, BadPath> {
        if typed.iter().any(|b| *b < 0x20 || *b == 0x7f) {
            return Err(BadPath::ControlByte);
        }
        let mut parts = if typed.first() == Some(&b'/') {
            Vec::new()
        } else {
            self.0.clone()
        };
        for part in typed.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop();
                }
                part if part.len() > 255 => return Err(BadPath::TooLong),
                part => parts.push(part.to_vec()),
            }
        }
        if parts.iter().map(|p| p.len() + 1).sum::<usize>() > 4096 {
            return Err(BadPath::TooLong);
        }
        Ok(Self(parts))
    }

    /// The components, outermost first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.0.iter().map(Vec::as_slice)
    }

    /// The last component; `None` for the root.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        self.0.last().map(Vec::as_slice)
    }

    /// The directory that holds it; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, rest)| Self(rest.to_vec()))
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `self` is `other` or lies beneath it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// As text: `/`, `/a`, `/a/b`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.is_root() {
            return b"/".to_vec();
        }
        self.0.iter().fold(Vec::new(), |mut text, part| {
            text.push(b'/');
            text.extend_from_slice(part);
            text
        })
    }
}
