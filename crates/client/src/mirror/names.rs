//! Which names from a listing may be used as names: one component, and none that is the same as another's.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// Why a name from a listing is not used.
pub(super) fn refusal(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("an empty name"),
        b"." | b".." => Some("a name that means another folder"),
        name if name.contains(&b'/') => Some("a name that holds a slash"),
        name if name.iter().any(|byte| *byte < 0x20 || *byte == 0x7f) => {
            Some("a name that holds control bytes")
        }
        name if name.len() > 255 => Some("a name that is too long"),
        _ => None,
    }
}

/// What a name or path is where case and composition of letters make no difference.
pub(super) fn folded(name: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(name) {
        Ok(text) => {
            let text: String = text.nfd().flat_map(char::to_lowercase).nfc().collect();
            Cow::Owned(text.into_bytes())
        }
        Err(_) => Cow::Owned(name.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_single_component_is_refused() {
        for name in [
            &b""[..],
            b".",
            b"..",
            b"../x",
            b"/x",
            b"a/b",
            b"a\0",
            b"a\r\nb",
            b"\x1b[2J",
            &[b'n'; 256],
        ] {
            assert!(refusal(name).is_some(), "{}", name.escape_ascii());
        }
        for name in [
            &b"a"[..],
            b"...",
            b" ",
            b"..x",
            b"\xff",
            "ñ".as_bytes(),
            b"C:",
            b"a\\b",
        ] {
            assert_eq!(refusal(name), None, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn case_and_composition_fold() {
        assert_eq!(
            folded("ÑANDÚ".as_bytes()),
            folded("n\u{303}andu\u{301}".as_bytes())
        );
        assert_ne!(folded(b"a"), folded(b"b"));
        assert_eq!(folded(b"\xffA"), folded(b"\xffa"));
    }
}
