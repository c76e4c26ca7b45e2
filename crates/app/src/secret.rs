//! Passwords: a type that does not print them, and new ones.

use std::fmt;
use std::io;

/// A text that is never printed by accident.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Letters and digits that nobody takes for each other, in no shell's way: without `i l o 0 1`.
const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// 31 letters to the 20th: 99 bits.
const LENGTH: usize = 20;

/// A password out of the system's random numbers.
pub(crate) fn generate() -> io::Result<Secret> {
    // Bytes from here on would make the first letters of the alphabet likelier than the others.
    let fair = 256 - 256 % ALPHABET.len();
    let mut text = String::with_capacity(LENGTH);
    let mut random = [0; 32];
    while text.len() < LENGTH {
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let letters = random
            .iter()
            .map(|byte| usize::from(*byte))
            .filter(|byte| *byte < fair);
        text.extend(
            letters
                .take(LENGTH - text.len())
                .map(|byte| char::from(ALPHABET[byte % ALPHABET.len()])),
        );
    }
    Ok(Secret(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_are_long_unambiguous_and_never_the_same() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_eq!(one.reveal().len(), LENGTH);
        assert!(one.reveal().bytes().all(|letter| ALPHABET.contains(&letter)));
        assert_ne!(one, other);
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Some(Secret::new("sesame".into()))), "Some(***)");
    }
}
