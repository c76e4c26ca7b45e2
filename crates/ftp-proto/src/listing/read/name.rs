//! Whether a name from a listing may become the name of a file here.

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// There is none.
    #[error("the name is empty")]
    Empty,
    /// `.` or `..`.
    #[error("the name means a directory on the way, not an entry")]
    Dots,
    /// It has a slash in it, so it leads somewhere else.
    #[error("the name is a path")]
    Slash,
    /// The same, where backslashes separate directories.
    #[error("the name is a path on this system")]
    Backslash,
    /// A byte that no file system keeps, or that ends a command line.
    #[error("the name holds a NUL, CR or LF byte")]
    Control,
}

/// Says that a name is one component of a path, so that it cannot lead out of the directory that it is put in.
/// `backslash`: it separates, too (Windows).
///
/// # Errors
/// The first fault of the name, all of them the peer's.
pub fn one_component(name: &[u8], backslash: bool) -> Result<&[u8], NameFault> {
    match name {
        b"" => return Err(NameFault::Empty),
        b"." | b".." => return Err(NameFault::Dots),
        _ => {}
    }
    for byte in name {
        match byte {
            b'/' => return Err(NameFault::Slash),
            b'\\' if backslash => return Err(NameFault::Backslash),
            0 | b'\r' | b'\n' => return Err(NameFault::Control),
            _ => {}
        }
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_leads_nowhere_else() {
        for good in ["a", "...", " ", "a b", ".hidden", "-rf", "C:"] {
            assert_eq!(one_component(good.as_bytes(), true), Ok(good.as_bytes()));
        }
        for (bad, fault) in [
            ("", NameFault::Empty),
            (".", NameFault::Dots),
            ("..", NameFault::Dots),
            ("../x", NameFault::Slash),
            ("/etc/passwd", NameFault::Slash),
            ("a\0b", NameFault::Control),
            ("a\rDELE b", NameFault::Control),
        ] {
            assert_eq!(one_component(bad.as_bytes(), false), Err(fault), "{bad:?}");
        }
        assert_eq!(one_component(b"..\\x", true), Err(NameFault::Backslash));
        assert_eq!(one_component(b"..\\x", false), Ok(&b"..\\x"[..]));
    }
}
